package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// edcID is the name that EDC trades with us under.
const edcID = "did:web:edc.example"

//go:embed Peer.java
var peer []byte

// edc is one runtime: control plane and data plane, provider and consumer.
type edc struct {
	jvm
	id       string // the name that it trades under
	lib      string
	claims   *claims  // how it proves who it is; nil: by the word of its mock
	wait     int      // milliseconds that its state machines sleep when there is nothing to do; 0 leaves its default
	database *url.URL // PostgreSQL, with the schema that it keeps its state in; nil: in memory
	listener string   // the address that it tells of its processes; "": nobody listens
	topics   []string // what it tells of
}

// prepare writes keys and the extensions. The runtime is started by start.
func prepare(ctx context.Context, e *edc) (*edc, error) {
	if len(e.ports) == 0 {
		if err := e.open("default", "management", "protocol", "control", "version", "public", "catalog"); err != nil {
			return nil, err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, err
	}
	for name, block := range map[string]*pem.Block{"private-key": {Type: "PRIVATE KEY", Bytes: private}, "public-key": {Type: "PUBLIC KEY", Bytes: public}} {
		if err := os.WriteFile(filepath.Join(e.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	extensions := map[string][]byte{"Peer": peer}
	switch {
	case e.claims != nil:
		extensions["Claims"] = claimsExtension
		if e.jars, err = classes(e.lib); err != nil {
			return nil, err
		}
	case e.database != nil:
		e.jars = []string{filepath.Join(e.lib, "*"), filepath.Join(e.lib+stores, "*")}
	default:
		e.jars = []string{filepath.Join(e.lib, "*")}
	}
	return e, e.bring(ctx, e.properties(), extensions)
}

func (e *edc) protocol() string { return e.url("protocol", "/protocol") }

// origins are what we must be able to reach.
func (e *edc) origins() []string { return []string{e.url("protocol", ""), e.url("public", "")} }

func (e *edc) properties() string {
	var b strings.Builder
	set := func(name string, value any) { fmt.Fprintf(&b, "%s=%v\n", name, value) }
	set("edc.participant.id", e.id)
	set("edc.component.id", "edc")
	set("edc.runtime.id", "edc-1")
	set("edc.hostname", "localhost")
	set("interop.keys", e.dir)
	b.WriteString(e.listening())
	set("edc.dsp.callback.address", e.protocol())
	set("edc.dataplane.api.public.baseurl", e.url("public", "/public"))
	set("edc.transfer.proxy.token.signer.privatekey.alias", "private-key")
	set("edc.transfer.proxy.token.verifier.publickey.alias", "public-key")
	if e.wait > 0 {
		for _, machine := range []string{"negotiation.consumer", "negotiation.provider", "negotiation", "transfer", "dataplane", "data.plane.selector"} {
			set("edc."+machine+".state-machine.iteration-wait-millis", e.wait)
		}
	}
	if e.database != nil {
		address := url.URL{Scheme: "jdbc:postgresql", Host: e.database.Host, Path: e.database.Path,
			RawQuery: url.Values{"currentSchema": {e.database.Query().Get("search_path")}, "sslmode": {"disable"}}.Encode()}
		password, _ := e.database.User.Password()
		set("edc.datasource.default.url", &address)
		set("edc.datasource.default.user", e.database.User.Username())
		set("edc.datasource.default.password", password)
		set("edc.sql.schema.autocreate", true)
	}
	if e.claims != nil {
		b.WriteString(e.claims.properties())
	}
	if e.listener != "" {
		set("edc.callback.operator.uri", e.listener)
		set("edc.callback.operator.events", strings.Join(e.topics, ","))
	}
	return b.String()
}

// stores is what the folder of a release's SQL stores has behind the name of the release's own.
const stores = "-sql"

// event is what EDC tells whoever it was set up to call back.
type event struct {
	Type    string `json:"type"`
	Payload struct {
		Negotiation string `json:"contractNegotiationId"`
		Transfer    string `json:"transferProcessId"`
		Reason      string `json:"reason"`
		Agreement   struct {
			ID string `json:"id"`
		} `json:"contractAgreement"`
		Address struct {
			Properties map[string]any `json:"properties"`
		} `json:"dataAddress"`
	} `json:"payload"`
}

// listen hands on what EDC tells; close it.
func listen(hear func(event)) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e event
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&e); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		hear(e)
	}))
}

type object = map[string]any

// call speaks to the management API. out may be nil.
func (e *edc) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, e.url("management", "/management/v3"+path), body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		return errors.Join(err, fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, text))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// vocab is the context of the management API's messages.
var vocab = object{"@vocab": "https://w3id.org/edc/v0.0.1/ns/"}

// seed offers one asset under each policy; all come from source.
func (e *edc) seed(ctx context.Context, source string) error {
	for id, terms := range policies {
		permission := object{"action": "use"}
		if len(terms) > 0 {
			permission["constraint"] = constraints("https://w3id.org/catenax/2025/9/policy/", terms)
		}
		for _, step := range []struct {
			path string
			body object
		}{
			{"/assets", object{"@context": vocab, "@id": id, "properties": object{"name": id}, "dataAddress": object{"type": "HttpData", "baseUrl": source}}},
			{"/policydefinitions", object{"@context": vocab, "@id": "access-" + id, "policy": object{"@context": "http://www.w3.org/ns/odrl.jsonld", "@type": "Set", "permission": []object{}}}},
			{"/policydefinitions", object{"@context": vocab, "@id": "use-" + id, "policy": object{"@context": "http://www.w3.org/ns/odrl.jsonld", "@type": "Set", "permission": []object{permission}}}},
			{"/contractdefinitions", object{"@context": vocab, "@id": "def-" + id, "accessPolicyId": "access-" + id, "contractPolicyId": "use-" + id,
				"assetsSelector": []object{{"@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": id}}}},
		} {
			if err := e.call(ctx, http.MethodPost, step.path, step.body, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// constraints are terms as the management API wants them, as ids: a bare text would become a name of EDC's own.
func constraints(prefix string, terms [][2]string) (out []object) {
	for _, t := range terms {
		out = append(out, object{"leftOperand": object{"@id": prefix + t[0]}, "operator": object{"@id": "odrl:eq"}, "rightOperand": t[1]})
	}
	return out
}

// reach waits until a process of EDC is in the state, and returns it.
func (e *edc) reach(ctx context.Context, path, id, state string) (object, error) {
	got := object{}
	err := eventually(ctx, path+" "+state, func() (bool, error) {
		if err := e.call(ctx, http.MethodGet, path+"/"+id, nil, &got); err != nil {
			return false, err
		}
		if got["state"] == "TERMINATED" && state != "TERMINATED" {
			return false, fmt.Errorf("terminated: %v", got["errorDetail"])
		}
		// A provider tidies up behind what has ended, and forgets in its state how it ended.
		tidied := got["state"] == "DEPROVISIONED" && (state == "TERMINATED" || state == "COMPLETED")
		return got["state"] == state || tidied, nil
	})
	if err != nil {
		err = fmt.Errorf("it is %v: %w", got["state"], err)
	}
	return got, err
}

// eventually asks until it is so.
func eventually(ctx context.Context, what string, so func() (bool, error)) error {
	return within(ctx, time.Minute, 10*time.Millisecond, what, so)
}

func within(ctx context.Context, limit, pause time.Duration, what string, so func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		if ok, err := so(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %s", limit, what)
		case <-time.After(pause):
		}
	}
}
