package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/participant"
)

//go:embed Hub.java
var hubExtension []byte

//go:embed Claims.java
var claimsExtension []byte

// wallets and knowing are what the folders of IdentityHub, and of the connector's identity service, have behind the name of their release.
const (
	wallets = "-hub"
	knowing = "-claims"
)

// base are the jars of IdentityHub that the connector's identity service stands on.
var base = []string{"carbon-did", "copper-multibase", "copper-multicodec", "decentralized-claims-spi", "decentralized-claims-transform", "identity-did-core", "identity-did-spi",
	"identity-did-web", "iron-verifiable-credentials", "itu", "jackson-dataformat-yaml", "json-schema-validator", "jws2020-lib", "jwt-verifiable-credentials",
	"ldp-verifiable-credentials", "rdf-urdna", "verifiable-credentials", "verifiable-credentials-spi"}

// claims lets EDC's connector prove who it is, and check who we are, by credential.
type claims struct {
	did    participant.DID
	sts    string // address of its token service
	secret string // of its account there
	issuer participant.DID
	types  []string // of the credentials that it wants of everybody, and shows to everybody
}

func (c *claims) properties() string {
	var scopes []string
	for _, kind := range c.types {
		scopes = append(scopes, scopeOf(kind))
	}
	supported, _ := json.Marshal(c.types)
	return fmt.Sprintf(`interop.did=%s
interop.sts=%s
interop.secret=%s
interop.scopes=%s
edc.iam.issuer.id=%s
edc.iam.trusted-issuer.meridian.id=%s
edc.iam.trusted-issuer.meridian.supportedtypes=%s
edc.iam.did.web.use.https=false
edc.iam.credential.revocation.mimetype=application/json
edc.iam.credential.revocation.cache.validity=0
edc.did.resolver.cache.expiry=%d
`, c.did, c.sts, c.secret, strings.Join(scopes, " "), c.did, c.issuer, supported, documentLife.Milliseconds())
}

// classes are the jars of the connector without its mock of an identity, its identity service, and what that stands on.
func classes(lib string) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(lib, "*.jar"))
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(jar string) bool { return strings.HasPrefix(filepath.Base(jar), "iam-mock-") })
	for _, name := range base {
		found, err := filepath.Glob(filepath.Join(lib+wallets, name+"-[0-9]*.jar"))
		if err != nil || len(found) != 1 {
			return nil, errors.Join(err, fmt.Errorf("%d jars of %s in %s", len(found), name, lib+wallets))
		}
		all = append(all, found[0])
	}
	return append(all, filepath.Join(lib+knowing, "*")), nil
}

// hub is EDC's IdentityHub: wallets with their token and credential services and DID documents.
type hub struct {
	jvm
	administrator string // key of
}

// newHub starts IdentityHub, with an administrator and nobody else in it.
func newHub(ctx context.Context, dir, lib string) (*hub, error) {
	h := &hub{jvm: jvm{dir: dir, jars: []string{filepath.Join(lib, "*")}}}
	if err := h.open("default", "credentials", "identity", "sts", "did", "version"); err != nil {
		return nil, err
	}
	key := filepath.Join(dir, "administrator.key")
	settings := h.listening() + fmt.Sprintf(`interop.key=%s
edc.iam.did.web.use.https=false
edc.iam.accesstoken.jti.validation=true
edc.iam.credential.revocation.mimetype=application/json
edc.did.resolver.cache.expiry=%d
`, key, documentLife.Milliseconds())
	if err := h.bring(ctx, settings, map[string][]byte{"Hub": hubExtension}); err != nil {
		return nil, err
	}
	if err := h.start(ctx); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(key)
	h.administrator = string(text)
	if err != nil {
		h.stop()
	}
	return h, err
}

// holder is a company whose wallet is in IdentityHub.
type holder struct {
	*hub
	name   string
	did    participant.DID
	key    string // of the identity API
	secret string // of its account at the token service
	asked  int    // requests for credentials so far
}

func (h *hub) didOf(name string) participant.DID {
	return participant.DID(fmt.Sprintf("did:web:localhost%%3A%d:%s", h.ports["did"], name))
}

// join makes a company's wallet, with its key and a DID document that names its credential service and the services given.
func (h *hub) join(ctx context.Context, name string, services ...object) (*holder, error) {
	p := &holder{hub: h, name: name, did: h.didOf(name)}
	services = append(services, object{"id": string(p.did) + "#credential-service", "type": "CredentialService", "serviceEndpoint": h.url("credentials", "/credentials/v1/participants/"+p.path())})
	var made struct {
		APIKey string `json:"apiKey"`
		Secret string `json:"clientSecret"`
	}
	err := h.ask(ctx, h.administrator, http.MethodPost, "", object{"participantContextId": name, "did": p.did, "active": true, "roles": []string{}, "serviceEndpoints": services,
		"keys": []object{p.keyOf(1)}}, &made)
	p.key, p.secret = made.APIKey, made.Secret
	return p, err
}

// keyOf describes the company's nth key, which IdentityHub makes.
func (p *holder) keyOf(n int) object {
	id := fmt.Sprintf("%s#key-%d", p.did, n)
	return object{"keyId": id, "resourceId": fmt.Sprintf("%s-%d", p.name, n), "privateKeyAlias": id, "type": "JsonWebKey2020", "active": true,
		"keyGeneratorParams": object{"algorithm": "EC", "curve": "secp256r1"}}
}

// path is the company's name as IdentityHub wants it in addresses.
func (p *holder) path() string { return base64.URLEncoding.EncodeToString([]byte(p.name)) }

// ask speaks to the identity API. out may be nil.
func (h *hub) ask(ctx context.Context, key, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, h.url("identity", "/identity/v1alpha/participants"+path), body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Api-Key", key)
	return answered(r, out)
}

// own speaks to the identity API of the company's wallet.
func (p *holder) own(ctx context.Context, method, path string, in, out any) error {
	return p.ask(ctx, p.key, method, "/"+p.path()+path, in, out)
}

// answered sends a request and reads its answer.
func answered(r *http.Request, out any) error {
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		return errors.Join(err, fmt.Errorf("%s %s: %d %s", r.Method, r.URL, res.StatusCode, text))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// sts is the address of the token service.
func (h *hub) sts() string { return h.url("sts", "/sts/token") }

// token has the token service make a token for the audience, that gives access by the scopes; "" for none.
func (p *holder) token(ctx context.Context, audience participant.DID, scopes string) (string, error) {
	return token(ctx, p.sts(), string(p.did), p.secret, audience, scopes)
}

func token(ctx context.Context, service, client, secret string, audience participant.DID, scopes string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret}, "audience": {string(audience)}}
	if scopes != "" {
		form.Set("bearer_access_scope", scopes)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, service, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var made struct {
		Token string `json:"access_token"`
	}
	err = answered(r, &made)
	return made.Token, err
}

// request lets the wallet ask the issuer for credentials, and waits until its request is over; it returns how.
func (p *holder) request(ctx context.Context, issuer participant.DID, types ...string) (state string, err error) {
	wanted := []object{}
	for _, kind := range types {
		format := "VC1_0_JWT"
		if kind == partner {
			format = "VC2_0_JOSE"
		}
		wanted = append(wanted, object{"format": format, "type": kind, "id": kind})
	}
	p.asked++
	pid := fmt.Sprintf("%s-%d", p.name, p.asked)
	if err := p.own(ctx, http.MethodPost, "/credentials/request", object{"issuerDid": issuer, "holderPid": pid, "credentials": wanted}, nil); err != nil {
		return "", err
	}
	err = eventually(ctx, "the request of "+p.name+" is over", func() (bool, error) {
		var got struct {
			Status string `json:"status"`
		}
		err := p.own(ctx, http.MethodGet, "/credentials/request/"+pid, nil, &got)
		state = got.Status
		return state == "ISSUED" || state == "ERROR", err
	})
	return state, err
}
