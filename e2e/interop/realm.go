package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	keys "github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/e2e/dcptck"
	"github.com/sluice-connector/sluice/e2e/kits"
	"github.com/sluice-connector/sluice/policy/profile"
)

// What is issued.
const (
	membership = "MembershipCredential"
	number     = "BpnCredential"
	partner    = "PartnerCredential" // of data model 2.0
)

// scopeOf asks for a type by the one alias that IdentityHub knows of itself.
func scopeOf(kind string) string { return "org.eclipse.edc.vc.type:" + kind + ":read" }

// realm is a dataspace of two worlds: Meridian, which issues, Boreal Drives, and Aurora Motors, which asks for data model 2.0, are ours; Cobalt Cells, and Dusk Trading, which is no member, have
// their wallets in IdentityHub, and Cobalt trades by EDC's connector.
type realm struct {
	*connector.Connector
	meridian, boreal, aurora participant.Participant

	hub          *hub
	cobalt, dusk *holder
	edc          *edc

	public  string
	heard   *ear
	tap     *tap
	front   *dcptck.Front
	stop    context.CancelFunc
	running sync.WaitGroup
	failed  error
}

// found builds the realm. What it returns is to be closed, with an error too.
func found(ctx context.Context, dir, release, lib string) (*realm, error) {
	r := &realm{stop: func() {}, heard: &ear{}, tap: &tap{}, edc: &edc{jvm: jvm{dir: filepath.Join(dir, "edc")}, lib: filepath.Join(lib, release), wait: 50}}
	h, err := newHub(ctx, filepath.Join(dir, "hub"), filepath.Join(lib, release+wallets))
	if err != nil {
		return r, err
	}
	r.hub = h
	if err := r.edc.open("default", "management", "protocol", "control", "version", "public", "catalog"); err != nil {
		return r, err
	}
	if r.dusk, err = h.join(ctx, "dusk"); err != nil {
		return r, err
	}
	if r.cobalt, err = h.join(ctx, "cobalt", object{"id": string(h.didOf("cobalt")) + "#dsp", "type": "DataService", "serviceEndpoint": r.edc.protocol() + "/.well-known/dspace-version"}); err != nil {
		return r, err
	}
	if err := r.open(ctx, dir); err != nil {
		return r, err
	}
	r.edc.id = string(r.cobalt.did)
	r.edc.claims = &claims{did: r.cobalt.did, sts: h.sts(), secret: r.cobalt.secret, issuer: r.meridian.DID, types: []string{membership, number}}
	if _, err := prepare(ctx, r.edc); err != nil {
		return r, err
	}
	if err := r.edc.start(ctx); err != nil {
		return r, err
	}
	return r, r.edc.seed(ctx, "http://localhost/none")
}

// open starts our connector on plain HTTP, since EDC resolves all DIDs by https or none; ours knows https alone, so a front answers for both sides'
// DID documents in TLS.
func (r *realm) open(ctx context.Context, dir string) error {
	port, err := kits.Free()
	if err != nil {
		return err
	}
	r.public = fmt.Sprintf("localhost:%d", port)
	documents := fmt.Sprintf("localhost:%d", r.cobalt.ports["did"])
	if r.front, err = dcptck.NewFront(r.public, documents); err != nil {
		return err
	}
	authority := settings.Trust{Issuer: "did:web:" + strings.Replace(r.public, ":", "%3A", 1) + ":meridian"}
	members, err := ecosystem(dir, "members", authority, membership, number)
	if err != nil {
		return err
	}
	partners, err := ecosystem(dir, "partners", authority, partner)
	if err != nil {
		return err
	}
	s := settings.Default()
	s.Data = filepath.Join(dir, "data")
	s.Public.Host, s.Public.Listen, s.Management.Listen = r.public, r.public, "127.0.0.1:0"
	s.Participants = []settings.Participant{{Slug: "meridian", Name: "Meridian", Issuer: true}, {Slug: "boreal", Name: "Boreal Drives"},
		{Slug: "aurora", Name: "Aurora Motors", Profile: "partners"}}
	s.Profiles = []settings.Profile{members, partners}
	s.Verification.Envelope = true
	s.Verification.Remember = 0                                                  // each scenario is judged by itself
	s.Verification.Informal = []string{string(r.cobalt.did), string(r.dusk.did)} // docs/interop-edc.md
	s.Egress.Peers = append(r.edc.origins(), r.cobalt.url("credentials", ""), "https://"+documents, "https://"+r.public, "http://"+r.public)
	public, err := net.Listen("tcp", r.public)
	if err != nil {
		return err
	}
	if r.Connector, err = connector.New(ctx, connector.Config{Settings: s, Log: slog.New(r.heard), Scheme: "http", Public: r.tap.listen(public), Roots: r.front.Roots(),
		Dial: r.tap.dial(r.front.Dial((&net.Dialer{}).DialContext)), Resolve: resolve}); err != nil {
		return errors.Join(err, public.Close())
	}
	if r.meridian, err = r.Participant(ctx, "meridian"); err != nil {
		return err
	}
	if r.boreal, err = r.Participant(ctx, "boreal"); err != nil {
		return err
	}
	if r.aurora, err = r.Participant(ctx, "aurora"); err != nil {
		return err
	}
	if err := errors.Join(seed(ctx, r.Connector, r.boreal), r.enrol(ctx)); err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.running.Go(func() { r.failed = r.Run(run) })
	return nil
}

// ecosystem writes a profile of which everybody is asked for credentials of the types, and must show the first.
func ecosystem(dir, id string, authority settings.Trust, types ...string) (settings.Profile, error) {
	p, err := profile.Default()
	if err != nil {
		return settings.Profile{}, err
	}
	p.ID, p.Default, p.Scopes = id, id == "members", nil
	for _, kind := range types {
		p.Scopes = append(p.Scopes, scopeOf(kind))
	}
	text, err := yaml.Marshal(p)
	if err != nil {
		return settings.Profile{}, err
	}
	authority.Credentials = types
	file := filepath.Join(dir, id+".yaml")
	return settings.Profile{Use: file, Required: p.Scopes[:1], Accepts: []string{}, Trust: []settings.Trust{authority}}, os.WriteFile(file, text, 0o600)
}

// enrol puts the members on Meridian's list, and gives Boreal what it is to have. Cobalt has to ask.
func (r *realm) enrol(ctx context.Context) error {
	if _, err := r.Issuer().PutDefinition(ctx, r.meridian, issuer.Definition{ID: partner, Type: partner, Profile: credential.Profile20, Life: time.Hour,
		Purposes: []string{statuslist.Revocation}, Subject: []issuer.Member{{Name: "group", From: issuer.Constant, Values: []string{"suppliers"}}}, Rules: []issuer.Rule{{Kind: issuer.ByList}}}, order.Actor); err != nil {
		return err
	}
	var rows []issuer.Holder
	for did, name := range map[participant.DID]string{r.boreal.DID: "Boreal Drives", r.cobalt.did: "Cobalt Cells"} {
		rows = append(rows, issuer.Holder{DID: did, Name: name, Grants: []string{membership, number, partner}, Values: map[string][]string{"bpn": {"BPNL0000000000" + strings.ToUpper(name[:2])}, "memberOf": {"Meridian"}}})
	}
	if _, err := r.Issuer().PutHolders(ctx, r.meridian, rows, order.Actor); err != nil {
		return err
	}
	for _, kind := range []string{membership, number} {
		_, token, err := r.Issuer().Issue(ctx, r.meridian, issuer.Issuing{Holder: r.boreal.DID, Definition: kind, Actor: order.Actor})
		if err != nil {
			return err
		}
		if _, err := r.Wallet().Put(ctx, r.boreal, []byte(token), order.Actor); err != nil {
			return err
		}
	}
	return nil
}

func (r *realm) close() error {
	r.edc.stop()
	if r.hub != nil {
		r.hub.stop()
	}
	r.stop()
	r.running.Wait()
	err := r.failed
	if r.Connector != nil {
		err = errors.Join(err, r.Connector.Close())
	}
	if r.front != nil {
		err = errors.Join(err, r.front.Close())
	}
	return err
}

// list is where the status list of a place is.
func (r *realm) list(p issuer.Place) string { return r.IssuerURL(r.meridian) + "/status/" + p.List }

// get fetches something that is there for anybody.
func get(ctx context.Context, url string) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// ear hears why our connector refused somebody: the peer is not told.
type ear struct {
	mu   sync.Mutex
	last string
}

// Enabled implements slog.Handler.
func (*ear) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (e *ear) Handle(ctx context.Context, record slog.Record) error {
	if slices.Contains([]string{"presentation refused", "caller not authenticated", "message refused"}, record.Message) {
		record.Attrs(func(a slog.Attr) bool {
			if a.Key == "path" && !strings.HasSuffix(a.Value.String(), "/issuer/credentials") {
				return false // which tells what was told before, in the words for the peer
			}
			if a.Key != "error" {
				return true
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			e.last = a.Value.String()
			return false
		})
	}
	if record.Level < slog.LevelError {
		return nil
	}
	return slog.NewTextHandler(os.Stderr, nil).Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (e *ear) WithAttrs([]slog.Attr) slog.Handler { return e }

// WithGroup implements slog.Handler.
func (e *ear) WithGroup(string) slog.Handler { return e }

// why is the last cause.
func (e *ear) why() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// identities plays who has to prove what to whom, with one release of IdentityHub and of EDC's connector.
func identities(ctx context.Context, release, lib string, only *regexp.Regexp) (rows []row, err error) {
	for _, folder := range []string{release, release + wallets, release + knowing} {
		if err := check(folder, filepath.Join(lib, folder)); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r, err := found(ctx, dir, release, lib)
	defer func() { err = errors.Join(err, r.close()) }()
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		direction string
		scenarios []scenario[*realm]
	}{{"we issue to IdentityHub", issuing}, {"we present to EDC", presented}, {"IdentityHub presents to us", presenting}, {"what was proven ends", ending}} {
		rows = append(rows, play(ctx, r, part.direction, release, part.scenarios, only)...)
		if part.direction == "IdentityHub presents to us" {
			err = errors.Join(err, r.record(ctx, os.Getenv("INTEROP_RECORD")))
		}
	}
	return rows, err
}

// record writes a visit of Cobalt's into the folder, "" for none: the token, what its wallet shows, who vouches for it, and when that was. It also
// writes the request by which the wallet came to its credentials. All keys of it end with the program.
func (r *realm) record(ctx context.Context, dir string) error {
	if dir == "" {
		return nil
	}
	token, err := r.cobalt.token(ctx, r.boreal.DID, scopeOf(membership)+" "+scopeOf(number))
	if err != nil {
		return err
	}
	if err := r.visit(ctx, r.boreal, token, ""); err != nil {
		return err
	}
	files := map[string][]byte{"token": []byte(token), "time": []byte(time.Now().UTC().Format(time.RFC3339))}
	if files["issuer.json"], err = r.DIDDocument(r.meridian); err != nil {
		return err
	}
	if files["document.json"], err = get(ctx, r.cobalt.url("did", "/cobalt/did.json")); err != nil {
		return err
	}
	held, err := r.Issuer().Credentials(ctx, r.meridian, issuer.Filter{Holder: r.cobalt.did}, page.Request{})
	if err != nil {
		return err
	}
	lists := map[string]string{}
	for _, c := range held.Items {
		for _, p := range c.Places {
			list, err := r.Issuer().StatusList(ctx, r.meridian, p.List)
			if err != nil {
				return err
			}
			lists[r.list(p)] = list.Token
		}
	}
	if files["lists.json"], err = json.Marshal(lists); err != nil {
		return err
	}
	last := int64(0)
	for _, m := range r.tap.messages() {
		if strings.HasSuffix(m.path, "/issuer/credentials") && files["CredentialRequestMessage.json"] == nil {
			files["CredentialRequestMessage.json"] = m.body
		}
		shown, err := dcp.ParseResponse(m.body)
		if err != nil || len(shown) != 1 {
			continue
		}
		_, payload, err := keys.ParseJWT(shown[0], len(shown[0]))
		if err != nil {
			return err
		}
		var claims struct {
			Issued int64  `json:"iat"`
			Type   string `json:"type"`
		}
		if err := json.Unmarshal(payload, &claims); err != nil {
			return err
		}
		switch {
		case claims.Type == "EnvelopedVerifiablePresentation":
			files["PresentationResponseMessage-2.0.json"] = m.body
		case claims.Issued >= last:
			last, files["PresentationResponseMessage.json"] = claims.Issued, m.body
		}
	}
	return write(filepath.Join(dir, "identity"), files)
}
