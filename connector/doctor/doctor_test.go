package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ncruces/go-sqlite3/driver"

	"github.com/sluice-connector/sluice/certs"
	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/doctor"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/wallet"
)

func TestWhereNothingIsWrongNothingIsFound(t *testing.T) {
	t.Parallel()
	v := build(t, types...)
	for _, f := range doctor.Examine(t.Context(), v.config()) {
		if f.Result != doctor.OK || f.Mend != "" {
			t.Errorf("%s: %s: %s (mend: %s)", f.Result, f.Check, f.Detail, f.Mend)
		}
	}
	v.aurora.stop()
	for _, f := range doctor.Examine(t.Context(), v.config()) {
		if f.Result == doctor.Fault || f.Result == doctor.Warning && !strings.Contains(f.Detail, "the connector does not run") {
			t.Errorf("while it does not run: %s: %s: %s", f.Result, f.Check, f.Detail)
		}
	}
}

func TestNothingIsChanged(t *testing.T) {
	t.Parallel()
	v := build(t, types...)
	while := func(when string, cfg doctor.Config) {
		t.Helper()
		before := files(t, cfg.Settings.Data)
		found(t, cfg, "store", doctor.OK, "it can be read", "^$")
		if diff := cmp.Diff(before, files(t, cfg.Settings.Data)); diff != "" {
			t.Errorf("%s (-before +after):\n%s", when, diff)
		}
	}
	v.aurora.stop() // it writes when it likes
	while("while nobody has the store open", v.config())
	writer, err := embedded.Open(t.Context(), embedded.Options{Dir: v.aurora.set.Data, Rand: rand.Reader})
	must(t, err)
	must(t, writer.Ping(t.Context()))
	while("while somebody has the store open", v.config())
	// What a process that was killed leaves: a write-ahead log that nobody has taken in.
	killed := v.config()
	killed.Settings.Data = filepath.Join(t.TempDir(), "data")
	must(t, os.CopyFS(killed.Settings.Data, os.DirFS(v.aurora.set.Data)))
	must(t, writer.Close())
	must(t, os.Remove(filepath.Join(killed.Settings.Data, embedded.File+"-shm")))
	while("after somebody was killed who had it open", killed)

	none := v.config()
	none.Settings.Data = filepath.Join(t.TempDir(), "nowhere")
	found(t, none, "data directory", doctor.Warning, "is not there yet", "^sluice serve$")
	if _, err := os.Stat(none.Settings.Data); !os.IsNotExist(err) {
		t.Error("it made a data directory")
	}
}

// files are the digests of all files but those in which readers of a database say that they read.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "-shm") {
			return err
		}
		text, err := os.ReadFile(path)
		sum := sha256.Sum256(text)
		out[strings.TrimPrefix(path, dir)] = string(sum[:])
		return err
	}))
	return out
}

func TestAClockThatIsWrongIsTold(t *testing.T) {
	t.Parallel()
	v := build(t, types...)
	shifted := func(by time.Duration) doctor.Config {
		cfg := v.config()
		cfg.Now = func() time.Time { return time.Now().Add(by) }
		return cfg
	}
	found(t, shifted(0), "clock", doctor.OK, "it agrees with meridian.example", "^$")
	found(t, shifted(3*time.Minute), "clock", doctor.Fault, "^this machine's clock is (2m5.s|3m0s) ahead of that of meridian.example: peers allow 30s", "timedatectl set-ntp true")
	found(t, shifted(-3*time.Minute), "clock", doctor.Fault, "(2m5.s|3m0s) behind that of meridian.example", "timedatectl")
	found(t, shifted(15*time.Second), "clock", doctor.Warning, "1[45]s ahead.*some peers allow 5s only", "timedatectl")
	found(t, shifted(-30*365*24*time.Hour), "clock", doctor.Fault, "^it says 19", "timedatectl")

	// One host of two that has another time is wrong itself.
	late := impostor(t, v.leaf(t, other), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusNotFound)
	})
	cfg := shifted(0)
	in(&cfg, v.at(other, "11.3.3.3", late))
	cfg.Settings.Profiles[0].Trust = append(cfg.Settings.Profiles[0].Trust, settings.Trust{Issuer: "did:web:" + other, Credentials: types})
	found(t, cfg, "clock", doctor.OK, "agrees with", "^$")
	found(t, cfg, "clock", doctor.Warning, "clock of other.example is (9m5.s|10m0s) away", "curl -sI https://other.example/")

	// Where nobody answers, nothing is known.
	cfg = shifted(0)
	in(&cfg, world{v.names, map[string]string{}})
	found(t, cfg, "clock", doctor.Warning, "there was nobody to compare it with", "timedatectl")

	// An answer that was kept for a while says nothing of the time.
	kept := impostor(t, v.leaf(t, meridianHost), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		w.Header().Set("Age", "600")
		w.WriteHeader(http.StatusNotFound)
	})
	cfg = shifted(0)
	in(&cfg, v.at(meridianHost, meridianAt, kept))
	found(t, cfg, "clock", doctor.OK, "agrees with connector.aurora.example", "^$")
}

func TestADIDThatOthersCannotReachIsTold(t *testing.T) {
	t.Parallel()
	v := build(t, types...)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, closed.Close())
	nameless := world{map[string]string{meridianHost: meridianAt}, v.ports}
	for name, c := range map[string]struct {
		change       func(*doctor.Config)
		check        string
		result       doctor.Result
		detail, mend string
	}{
		"its name is not in the DNS": {func(cfg *doctor.Config) { in(cfg, nameless) },
			"public host", doctor.Fault, "connector.aurora.example has no address: nobody can find", "make a DNS record .*dig \\+short connector.aurora.example"},
		"and so it is not fetched": {func(cfg *doctor.Config) { in(cfg, nameless) },
			"DID of aurora", doctor.Fault, "has no address: no such host: no peer can tell who aurora is", "DNS record"},
		"the DNS does not answer": {func(cfg *doctor.Config) {
			cfg.Resolve = func(context.Context, string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
			}
		}, "public host", doctor.Warning, "could not be looked up: .*server misbehaving", "dig \\+short connector.aurora.example"},
		"it leads to a private address": {func(cfg *doctor.Config) { in(cfg, v.at(auroraHost, "10.1.2.3", v.aurora.set.Public.Listen)) },
			"public host", doctor.Fault, "leads to 10.1.2.3 as seen from here, .*others cannot reach this", "dig .* from outside; .*egress.peers of each peer: ..https://connector.aurora.example"},
		"it leads to a private address, and that is meant": {func(cfg *doctor.Config) {
			in(cfg, v.at(auroraHost, "10.1.2.3", v.aurora.set.Public.Listen))
			cfg.Settings.Egress.Peers = []string{"https://" + auroraHost}
		}, "public host", doctor.Warning, "outside of the public address space: only peers come here whose settings let them", "egress.peers of each peer"},
		"it leads to another machine": {func(cfg *doctor.Config) { in(cfg, v.at(auroraHost, "11.1.1.9", v.aurora.set.Public.Listen)) },
			"public host", doctor.Warning, "11.1.1.9, which is no address of this machine", "ip -brief address"},
		"nobody listens there": {func(cfg *doctor.Config) { in(cfg, v.at(auroraHost, auroraAt, closed.Addr().String())) },
			"DID of aurora", doctor.Fault, "nothing listens at connector.aurora.example", "let port 443 lead to public.listen, then: curl -v https://connector.aurora.example/aurora/did.json"},
		"nobody answers there": {func(cfg *doctor.Config) { in(cfg, world{v.names, map[string]string{}}) },
			"DID of aurora", doctor.Fault, "connector.aurora.example does not answer within 5s", "open port 443 in the firewall"},
		"another server has no such document": {func(cfg *doctor.Config) {
			in(cfg, v.at(auroraHost, auroraAt, impostor(t, v.leaf(t, auroraHost), http.NotFound)))
		}, "DID of aurora", doctor.Fault, "no such document \\(404\\)", "lead to this connector"},
		"another server sends elsewhere": {func(cfg *doctor.Config) {
			in(cfg, v.at(auroraHost, auroraAt, impostor(t, v.leaf(t, auroraHost), func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://www.aurora.example/", http.StatusFound)
			})))
		}, "DID of aurora", doctor.Fault, "sends elsewhere \\(302\\), and nobody follows", "answer at https://"},
		"what is there is no document": {func(cfg *doctor.Config) {
			in(cfg, v.at(auroraHost, auroraAt, impostor(t, v.leaf(t, auroraHost), text("<html>"))))
		}, "DID of aurora", doctor.Fault, "did.json: DID document", "lead to this connector"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := v.config()
			c.change(&cfg)
			found(t, cfg, c.check, c.result, c.detail, c.mend)
		})
	}
}

func TestAHostThatIsForThisMachineOnlyIsTold(t *testing.T) {
	t.Parallel()
	v := build(t)
	for host, wants := range map[string][2]string{
		"localhost:8443":     {"every machine's name for itself", "sluice init .*--host NAME"},
		auroraHost + ":8443": {"peers go to port 443 only", "egress.peers of each peer: ..https://connector.aurora.example:8443"},
	} {
		cfg := v.config()
		cfg.Settings.Public.Host = host
		found(t, cfg, "public host", doctor.Warning, wants[0], wants[1])
		found(t, cfg, "DID of aurora", doctor.Fault, "it was made as did:web:connector.aurora.example:aurora, and public.host would make it .*8443", "public.host")
	}
}

func TestADocumentThatIsNotTheStoresIsTold(t *testing.T) {
	t.Parallel()
	v := build(t, types...)
	genuine := fetch(t, v, auroraHost, "aurora")
	// A key that is taken back, and one that comes, after somebody took a copy of the document.
	keys, err := v.aurora.Keys(v.aurora.local)
	must(t, err)
	signer, err := keys.Signer(identity.UseToken)
	must(t, err)
	_, err = v.aurora.Keeper().Revoke(t.Context(), v.aurora.local, signer.Public().ID, commit.Order{Actor: "test"})
	must(t, err)
	_, err = v.aurora.Keeper().Rotate(t.Context(), v.aurora.local, keyring.Rotation{Use: "issue", Actor: "test"})
	must(t, err)
	now := fetch(t, v, auroraHost, "aurora")
	changed := func(from, to string) string {
		t.Helper()
		if !strings.Contains(now, from) {
			t.Fatalf("the document does not hold %q", from)
		}
		return strings.ReplaceAll(now, from, to)
	}
	foreign, err := keyring.Draw("dusk", rand.Reader, time.Now)
	must(t, err)
	strange, err := identity.NewDocument(v.aurora.local.DID, foreign, nil)
	must(t, err)
	did := string(v.aurora.local.DID)
	for name, c := range map[string]struct {
		document, check string
		result          doctor.Result
		detail          string
	}{
		"as it is":                     {now, "document of aurora", doctor.OK, "its keys and services are those of the store"},
		"of yesterday":                 {genuine, "document of aurora", doctor.Fault, "still lists the revoked key " + signer.Public().ID},
		"without the key that signs":   {genuine, "document of aurora", doctor.Fault, "the active key token-\\S+ is missing: peers refuse what it signs"},
		"without the key that comes":   {genuine, "document of aurora", doctor.Warning, "the new key issue-\\S+ is not there yet: copies on the way may be 5m0s old"},
		"of somebody else's keys":      {string(strange), "document of aurora", doctor.Fault, "lists did:web:connector.aurora.example:aurora#token-\\S+, a key that is not ours"},
		"without services":             {string(strange), "document of aurora", doctor.Fault, "it lists no CredentialService: peers do not find it"},
		"with services elsewhere":      {changed("https://"+auroraHost, "https://old.aurora.example"), "document of aurora", doctor.Fault, "its CredentialService is at https://old.aurora.example/aurora/dcp, and should be at https://connector.aurora.example/aurora/dcp"},
		"with a key for nothing":       {changed(`"capabilityInvocation":["`+did, `"capabilityInvocation":["did:web:nobody`), "document of aurora", doctor.Fault, "the active key token-\\S+ is not listed under capabilityInvocation"},
		"with other bytes under a key": {swap(t, now), "document of aurora", doctor.Fault, "stands there with other bytes"},
		"of another id":                {changed(`"id":"`+did+`"`, `"id":"`+did+`2"`), "DID of aurora", doctor.Fault, "its id is not the DID that was asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := v.config()
			in(&cfg, v.at(auroraHost, auroraAt, impostor(t, v.leaf(t, auroraHost), text(c.document))))
			mend := "let https://connector.aurora.example/aurora/did.json lead to this connector|public.host, or what changes the document"
			if c.result == doctor.OK {
				mend = "^$"
			}
			found(t, cfg, c.check, c.result, c.detail, mend)
		})
	}
}

// fetch gets a document as peers do.
func fetch(t *testing.T, v *town, host, slug string) string {
	t.Helper()
	to := v.at(host, v.names[host], v.ports[v.names[host]+":443"])
	to.ports[host+":443"] = to.ports[v.names[host]+":443"] // this client does not resolve
	client := &http.Client{Transport: &http.Transport{DialContext: to.dial, TLSClientConfig: &tls.Config{RootCAs: v.ca.Pool(), MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	res, err := client.Get("https://" + host + "/" + slug + "/did.json")
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return string(body)
}

// swap puts the bytes of the first key under the second one's name.
func swap(t *testing.T, document string) string {
	t.Helper()
	var d map[string]any
	must(t, json.Unmarshal([]byte(document), &d))
	methods := d["verificationMethod"].([]any)
	first, second := methods[0].(map[string]any), methods[1].(map[string]any)
	second["publicKeyJwk"] = first["publicKeyJwk"]
	text, err := json.Marshal(d)
	must(t, err)
	return string(text)
}

func TestWhatAWalletLacksIsTold(t *testing.T) {
	t.Parallel()
	v := build(t, "MembershipCredential")
	const check = "credentials of aurora"
	cfg := v.config()
	found(t, cfg, check, doctor.Warning, "there is no BpnCredential, which the profile catena-x asks for: policies that ask for it refuse",
		"^sluice credentials request -p aurora did:web:meridian.example:meridian BpnCredential$")
	cfg.Settings.Profiles[0].Required = []string{"org.eclipse.tractusx.vc.type:BpnCredential:read"}
	found(t, cfg, check, doctor.Fault, "there is no BpnCredential, which profiles.0..required asks for: who lacks it is a stranger", "sluice credentials request")
	cfg = v.config()
	cfg.Settings.Wallet.Request = []string{"DismantlerCredential"}
	found(t, cfg, check, doctor.Warning, "no DismantlerCredential, which wallet.request asks for.*nobody is trusted to issue it", "profiles.0..trust")
}

func TestAParticipantOfAnEcosystemThatIsNotThereIsTold(t *testing.T) {
	t.Parallel()
	v := build(t, "MembershipCredential")
	cfg := v.config()
	cfg.Settings.Profiles[0].Use = "factory-x"
	found(t, cfg, "profile of aurora", doctor.Fault, "it was made under .*catena-x.*, which is not in the settings", "^settings key profiles$")
	cfg = v.config()
	cfg.Settings.Participants = append(slices.Clone(cfg.Settings.Participants), settings.Participant{Slug: "gear", Name: "Gear Works", Profile: "nowhere"})
	found(t, cfg, "profile of gear", doctor.Fault, `there is no profile "nowhere"`, "participants.1..profile")
}

func TestACredentialThatWasAskedForIsWaitedFor(t *testing.T) {
	t.Parallel()
	v := build(t)
	ctx := t.Context()
	all, err := v.meridian.Issuer().Definitions(ctx, v.meridian.local)
	must(t, err)
	for _, d := range all {
		if d.Type == "BpnCredential" {
			d.Rules, d.Open = []issuer.Rule{{Kind: issuer.ByApproval}}, true
			_, err := v.meridian.Issuer().PutDefinition(ctx, v.meridian.local, d, "test")
			must(t, err)
		}
	}
	r, err := v.aurora.Wallet().Ask(ctx, v.aurora.local, wallet.Ask{Issuer: v.meridian.local.DID, Types: []string{"BpnCredential"}, Actor: "test"})
	must(t, err)
	found(t, v.config(), "credentials of aurora", doctor.Warning, "there is no BpnCredential, .*it was asked for, and did:web:meridian.example:meridian has not delivered it yet",
		"^sluice credentials requests -p aurora "+r.ID+"$")
}

func TestACredentialWhoseStatusNobodyCanLookUpIsTold(t *testing.T) {
	t.Parallel()
	v := build(t, "MembershipCredential")
	document := fetch(t, v, meridianHost, "meridian")
	cfg := v.config()
	in(&cfg, v.at(meridianHost, meridianAt, impostor(t, v.leaf(t, meridianHost), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/meridian/did.json" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		text(document)(w, r)
	})))
	found(t, cfg, "credentials of aurora", doctor.Warning, "^MembershipCredential of did:web:meridian.example:meridian: its status cannot be looked up \\(credential.status.unavailable", "tell did:web:meridian.example:meridian")
}

func TestACredentialIsNotCalledForgedBecauseNobodyAnswered(t *testing.T) {
	t.Parallel()
	v := build(t, "MembershipCredential")
	document, asked := fetch(t, v, meridianHost, "meridian"), atomic.Int32{}
	cfg := v.config()
	in(&cfg, v.at(meridianHost, meridianAt, impostor(t, v.leaf(t, meridianHost), func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 1 { // the first answer is that to the look at the issuer
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		text(document)(w, r)
	})))
	found(t, cfg, "credentials of aurora", doctor.Warning, "^MembershipCredential .*the document of its issuer cannot be had", "tell did:web:meridian.example:meridian")
}

func TestAPartnersClockIsComparedToo(t *testing.T) {
	t.Parallel()
	v := build(t, types...)
	a := agreement.Agreement{Participant: v.aurora.local.ID, ID: "urn:uuid:1", Negotiation: "n", Role: "provider", Provider: v.aurora.local.DID, Consumer: "did:web:" + other,
		Asset: "x", Digest: strings.Repeat("a", 64), Raw: []byte("{}"), Signed: time.Now(), Created: time.Now()}
	must(t, v.aurora.Store().Record(t.Context(), v.aurora.local.ID, commit.Effects{Agreement: &a}))
	cfg := v.config()
	in(&cfg, v.at(other, "11.3.3.3", impostor(t, v.leaf(t, other), http.NotFound)))
	found(t, cfg, "clock", doctor.OK, "it agrees with meridian.example and other.example", "^$")
}

func TestAnIssuerThatIsHostedHereIsNotMissedWhileNothingRuns(t *testing.T) {
	t.Parallel()
	v := build(t)
	v.meridian.stop()
	cfg := v.config()
	cfg.Settings = v.meridian.set
	found(t, cfg, "issuer did:web:meridian.example:meridian", doctor.Warning, "hosted here, and the connector does not run", "sluice serve")
}

func TestAStoreThatIsNotOfThisVersionIsTold(t *testing.T) {
	t.Parallel()
	v := build(t, types...)
	v.aurora.stop()
	for version, wants := range map[string][3]string{
		"1":   {"warning", "schema version 1, where this binary has .*the next start brings it up, and what is in it was not looked at", "sluice serve"},
		"999": {"fault", "schema version 999, this binary knows .*use a newer sluice", "sluice.db"},
	} {
		cfg := v.config()
		cfg.Settings.Data = filepath.Join(t.TempDir(), "data")
		must(t, os.CopyFS(cfg.Settings.Data, os.DirFS(v.aurora.set.Data)))
		db, err := driver.Open("file:" + filepath.Join(cfg.Settings.Data, embedded.File))
		must(t, err)
		_, err = db.ExecContext(t.Context(), `UPDATE meta SET value = ? WHERE key = 'schema'`, version)
		must(t, err)
		must(t, db.Close())
		before := files(t, cfg.Settings.Data)
		found(t, cfg, "store", doctor.Result(wants[0]), wants[1], wants[2])
		if diff := cmp.Diff(before, files(t, cfg.Settings.Data)); diff != "" {
			t.Errorf("version %s (-before +after):\n%s", version, diff)
		}
	}
}

func TestAMasterKeyThatOpensNothingIsTold(t *testing.T) {
	t.Parallel()
	v := build(t)
	drawn, err := keyring.DrawMaster(rand.Reader)
	must(t, err)
	cfg := v.config()
	cfg.Master, err = keyring.ParseMaster(drawn, rand.Reader)
	must(t, err)
	found(t, cfg, "keys of aurora", doctor.Fault, "wrapped by master key local-[0-9a-f]+, this one is local-", "bring the master key back")
}

func TestACredentialThatIsNoLongerGoodIsTold(t *testing.T) {
	t.Parallel()
	v := build(t)
	const check = "credentials of aurora"
	v.give(t, "MembershipCredential", time.Hour)
	after := func(d time.Duration) doctor.Config {
		cfg := v.config()
		cfg.Now = func() time.Time { return time.Now().Add(d) }
		return cfg
	}
	anew := "^sluice credentials request -p aurora did:web:meridian.example:meridian MembershipCredential; or, where it came by hand: sluice credentials put -p aurora FILE"
	found(t, after(55*time.Minute), check, doctor.Warning, "^MembershipCredential of did:web:meridian.example:meridian ends in (4m59s|5m0s), and there is no other yet", anew)
	found(t, after(2*time.Hour), check, doctor.Fault, "^MembershipCredential of did:web:meridian.example:meridian ended on .*not shown any more", anew)
	found(t, after(-2*time.Hour), check, doctor.Warning, "is not good before", "timedatectl")

	// What has another in its place is not missed.
	v.give(t, "MembershipCredential", 365*24*time.Hour)
	for _, f := range doctor.Examine(t.Context(), after(2*time.Hour)) {
		if f.Check == check && strings.Contains(f.Detail, "MembershipCredential") {
			t.Errorf("there is another one, yet: %s", f.Detail)
		}
	}
}

func TestACredentialThatWasTakenBackIsToldBeforeTheWalletKnows(t *testing.T) {
	t.Parallel()
	v := build(t)
	const check = "credentials of aurora"
	order := commit.Order{Actor: "test", Reason: "test"}
	revoked, suspended := v.give(t, "MembershipCredential", 24*time.Hour), v.give(t, "BpnCredential", 24*time.Hour)
	_, err := v.meridian.Issuer().Revoke(t.Context(), v.meridian.local, revoked.ID, order)
	must(t, err)
	_, err = v.meridian.Issuer().Suspend(t.Context(), v.meridian.local, suspended.ID, order)
	must(t, err)
	found(t, v.config(), check, doctor.Fault, "^MembershipCredential of did:web:meridian.example:meridian was revoked by its issuer", "sluice credentials request")
	found(t, v.config(), check, doctor.Fault, "^BpnCredential .*is suspended by its issuer", "sluice issuer credentials reinstate "+suspended.ID)

	v.give(t, "DataExchangeGovernanceCredential", 24*time.Hour)
	keys, err := v.meridian.Keys(v.meridian.local)
	must(t, err)
	signer, err := keys.Signer(identity.UseIssue)
	must(t, err)
	_, err = v.meridian.Keeper().Revoke(t.Context(), v.meridian.local, signer.Public().ID, order)
	must(t, err)
	found(t, v.config(), check, doctor.Fault, "^DataExchangeGovernanceCredential .*does not fit the keys that its issuer shows", "sluice credentials request")
}

func TestAnIssuerThatIsNotKnownIsTold(t *testing.T) {
	t.Parallel()
	v := build(t, "MembershipCredential")
	keyless := `{"id":"did:web:other.example","verificationMethod":[],"assertionMethod":[]}`
	strangers, err := certs.New(rand.Reader, time.Now)
	must(t, err)
	strange, err := strangers.Leaf(other)
	must(t, err)
	for name, c := range map[string]struct {
		listener     string
		address      string
		detail, mend string
	}{
		"its name is not in the DNS":      {"", "", "other.example has no address: .*nothing that it issued can be checked", "dig \\+short other.example"},
		"it is at a private address":      {impostor(t, v.leaf(t, other), text(keyless)), "10.9.9.9", "leads to 10.9.9.9, which is no public address", "in a closed network: settings key egress.peers: ..https://other.example"},
		"it has no key that signs":        {impostor(t, v.leaf(t, other), text(keyless)), "11.3.3.3", "no key under assertionMethod", "tell its operator"},
		"its certificate is a stranger's": {impostor(t, &strange, text(keyless)), "11.3.3.3", "certificate served at other.example was signed by .Sluice development CA., an authority that is not known", "egress.roots"},
		"its certificate is for another":  {impostor(t, v.leaf(t, "www.other.example"), text(keyless)), "11.3.3.3", "is for www.other.example, not for other.example", "openssl s_client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := v.config()
			cfg.Settings.Profiles[0].Trust = append(cfg.Settings.Profiles[0].Trust, settings.Trust{Issuer: "did:web:" + other, Credentials: types})
			if c.address != "" {
				in(&cfg, v.at(other, c.address, c.listener))
			}
			found(t, cfg, "issuer did:web:other.example", doctor.Fault, c.detail, c.mend)
		})
	}
	t.Run("a credential of an issuer that the profile does not trust", func(t *testing.T) {
		t.Parallel()
		cfg := v.config()
		cfg.Settings.Profiles[0].Trust = []settings.Trust{{Issuer: "did:web:" + other, Credentials: types}}
		found(t, cfg, "credentials of aurora", doctor.Fault, "^MembershipCredential of did:web:meridian.example:meridian: the profile catena-x trusts this issuer for nothing of that, so peers",
			"sluice credentials delete -p aurora \\S+; or settings key profiles.0..trust, then: sluice trust reload")
	})
	t.Run("nobody is believed at all", func(t *testing.T) {
		t.Parallel()
		cfg := v.config()
		cfg.Settings.Profiles[0].Trust = nil
		found(t, cfg, "trust", doctor.Warning, "nobody is believed in catena-x", "profiles.0..trust")
	})
}

func TestWhyAPortCannotBeHadIsSaidByTheSystem(t *testing.T) {
	t.Parallel()
	for number, wants := range map[syscall.Errno][2]string{
		syscall.EACCES:        {"this user may not listen there", "^sudo setcap cap_net_bind_service=.ep .*, or another port in settings key public.listen$"},
		syscall.EADDRINUSE:    {"taken by another program, which does not answer", "ss -ltnp 'sport = :443'"},
		syscall.EADDRNOTAVAIL: {"no address of this machine", "ip -brief address"},
		syscall.EMFILE:        {"too many open files", "settings key public.listen"},
	} {
		detail, mend := doctor.Unavailable("0.0.0.0:443", "443", "public.listen", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", number)})
		if !regexp.MustCompile(wants[0]).MatchString(detail) || !regexp.MustCompile(wants[1]).MatchString(mend) {
			t.Errorf("%v: %s (mend: %s)", number, detail, mend)
		}
	}
}

func TestAPortThatCannotBeHadIsTold(t *testing.T) {
	t.Parallel()
	v := build(t)
	taken := impostor(t, nil, text("this is another program"))
	_, port, err := net.SplitHostPort(taken)
	must(t, err)
	mend := "sudo ss -ltnp 'sport = :" + port + "' tells which: end it, or change settings key "
	cfg := v.config()
	cfg.Settings.Public.Listen = taken
	found(t, cfg, "address for peers", doctor.Fault, taken+": another program listens there", mend+"public.listen")
	cfg.Settings.Public.Listen = v.meridian.set.Public.Listen // another connector is another program
	found(t, cfg, "address for peers", doctor.Fault, "another program listens there", "public.listen")
	cfg.Settings.Public.Listen = impostor(t, v.leaf(t, auroraHost), text(`{"id":"did:web:connector.aurora.example:dusk"}`))
	found(t, cfg, "address for peers", doctor.Fault, "another program listens there", "public.listen")
	cfg = v.config()
	cfg.Settings.Management.Listen = taken
	found(t, cfg, "management address", doctor.Fault, "another program listens there", mend+"management.listen")
	cfg.Settings.Management.Listen = v.aurora.set.Public.Listen
	found(t, cfg, "management address", doctor.Fault, "another program listens there", "ss -ltnp")
	cfg.Settings.Management.Listen = "192.0.2.7:8444"
	found(t, cfg, "management address", doctor.Fault, "192.0.2.7:8444: no address of this machine", "ip -brief address .*management.listen")
	found(t, v.config(), "address for peers", doctor.OK, "this connector listens", "^$")
	found(t, v.config(), "management address", doctor.OK, "this connector listens", "^$")
}

// chain writes a certificate with its key into files of its own, and the settings' names of them.
func chain(t *testing.T, cfg *doctor.Config, key *ecdsa.PrivateKey, ders ...[]byte) {
	t.Helper()
	dir := t.TempDir()
	var all []byte
	for _, der := range ders {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	cfg.Settings.Public.Cert, cfg.Settings.Public.Key = filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")
	must(t, os.WriteFile(cfg.Settings.Public.Cert, all, 0o600))
	must(t, os.WriteFile(cfg.Settings.Public.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// line is an authority, one between, and a leaf for the host.
func line(t *testing.T, host string) (root, between, leaf []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	var parent *x509.Certificate
	var signs *ecdsa.PrivateKey
	var out [3][]byte
	for i, name := range []string{"Far Root", "Near Authority", host} {
		var err error
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
			BasicConstraintsValid: true, IsCA: i < 2, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
		if i == 2 {
			template.DNSNames = []string{host}
		}
		if parent == nil {
			parent, signs = template, key
		}
		out[i], err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signs)
		must(t, err)
		parent, err = x509.ParseCertificate(out[i])
		must(t, err)
		signs = key
	}
	return out[0], out[1], out[2], key
}

func TestACertificateThatClientsRefuseIsTold(t *testing.T) {
	t.Parallel()
	v := build(t)
	const check = "certificate for peers"
	files := func(t *testing.T, cfg *doctor.Config, ca *certs.CA, names ...string) {
		t.Helper()
		leaf, err := ca.Leaf(names...)
		must(t, err)
		chain(t, cfg, leaf.PrivateKey.(*ecdsa.PrivateKey), leaf.Certificate...)
	}
	for name, c := range map[string]struct {
		change       func(*testing.T, *doctor.Config)
		result       doctor.Result
		detail, mend string
	}{
		"it has ended": {func(t *testing.T, cfg *doctor.Config) {
			old, err := certs.New(rand.Reader, func() time.Time { return time.Now().AddDate(0, -6, 0) })
			must(t, err)
			files(t, cfg, old, auroraHost)
		}, doctor.Fault, "^it ended on .*no client accepts it", "a new certificate in settings keys public.cert and public.key"},
		"it ends soon": {func(_ *testing.T, cfg *doctor.Config) {
			cfg.Now = func() time.Time { return time.Now().AddDate(0, 3, -5) }
		}, doctor.Warning, "^it ends in [345] days", "a new certificate"},
		"it is for another name": {func(t *testing.T, cfg *doctor.Config) { files(t, cfg, v.ca, "www.aurora.example", "127.0.0.1") },
			doctor.Fault, "for www.aurora.example and 127.0.0.1, not for connector.aurora.example", "a certificate for connector.aurora.example in settings keys"},
		"its key is another's": {func(t *testing.T, cfg *doctor.Config) {
			leaf := v.leaf(t, auroraHost)
			stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			must(t, err)
			chain(t, cfg, stranger, leaf.Certificate...)
		}, doctor.Fault, "the key in .*tls.key is not that of the certificate in .*tls.pem", "openssl pkey -in .*tls.key -pubout; openssl x509 -in .*tls.pem -noout -pubkey"},
		"its chain is not whole": {func(t *testing.T, cfg *doctor.Config) {
			root, _, leaf, key := line(t, auroraHost)
			chain(t, cfg, key, leaf)
			cfg.Roots = v.ca.Pool()
			cfg.Roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root}))
		}, doctor.Fault, "comes without that of .Near Authority., which signed it: the chain is not whole", "cat LEAF BETWEEN.* > .*tls.pem"},
		"nobody knows its authority": {func(t *testing.T, cfg *doctor.Config) {
			root, between, leaf, key := line(t, auroraHost)
			chain(t, cfg, key, leaf, between, root)
		}, doctor.Fault, "was signed by .Far Root., an authority that is not known", "egress.roots, here and at each peer"},
		"its file is not there": {func(_ *testing.T, cfg *doctor.Config) { cfg.Settings.Public.Cert += ".old" },
			doctor.Fault, "tls.pem.old: no such file", "^ls -l .*tls.pem.old .*tls.key; settings keys public.cert"},
		"its file is no certificate": {func(_ *testing.T, cfg *doctor.Config) { cfg.Settings.Public.Cert = cfg.Settings.Public.Key },
			doctor.Fault, "tls.key and .*tls.key: tls: ", "settings keys public.cert and public.key"},
		"there is none": {func(_ *testing.T, cfg *doctor.Config) { cfg.Settings.Public.Cert, cfg.Settings.Public.Key = "", "" },
			doctor.Warning, "something in front must end TLS, and peers must reach https://connector.aurora.example", "public.cert"},
		"all is well": {func(t *testing.T, cfg *doctor.Config) {
			root, between, leaf, key := line(t, auroraHost)
			chain(t, cfg, key, leaf, between)
			cfg.Roots = v.ca.Pool()
			cfg.Roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root}))
		}, doctor.OK, "good until", "^$"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := v.config()
			c.change(t, &cfg)
			found(t, cfg, check, c.result, c.detail, c.mend)
		})
	}
}

func TestACertificateIsJudgedAsClientsSeeIt(t *testing.T) {
	t.Parallel()
	v := build(t)
	document := text(fetch(t, v, auroraHost, "aurora"))
	old, err := certs.New(rand.Reader, func() time.Time { return time.Now().AddDate(0, -6, 0) })
	must(t, err)
	ended, err := old.Leaf(auroraHost)
	must(t, err)
	strangers, err := certs.New(rand.Reader, time.Now)
	must(t, err)
	strange, err := strangers.Leaf(auroraHost)
	must(t, err)
	_, _, alone, key := line(t, auroraHost)
	roots := v.ca.Pool()
	roots.AppendCertsFromPEM(old.PEM())
	for name, c := range map[string]struct {
		leaf          *tls.Certificate
		check, detail string
		result        doctor.Result
		mend          string
	}{
		"it is for another name":     {v.leaf(t, "www.aurora.example"), "DID of aurora", "is for www.aurora.example, not for connector.aurora.example", doctor.Fault, "a certificate for connector.aurora.example.*openssl s_client"},
		"it has ended":               {&ended, "DID of aurora", "is good from .* until .* only", doctor.Fault, "a new certificate .*openssl s_client -connect connector.aurora.example:443"},
		"its authority is not known": {&strange, "DID of aurora", "was signed by .Sluice development CA., an authority that is not known", doctor.Fault, "public.cert"},
		"its chain is not whole":     {&tls.Certificate{Certificate: [][]byte{alone}, PrivateKey: key}, "DID of aurora", "comes without that of .Near Authority.", doctor.Fault, "the whole chain in settings key public.cert"},
		"it is not that of the file": {v.leaf(t, auroraHost), "certificate that peers see", "another one than that of public.cert", doctor.Warning, "public.proxies"},
		"nobody speaks TLS":          {nil, "DID of aurora", "connector.aurora.example does not speak TLS", doctor.Fault, "public.cert and public.key, or TLS in what stands in front"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := v.config()
			cfg.Roots = roots
			in(&cfg, v.at(auroraHost, auroraAt, impostor(t, c.leaf, document)))
			found(t, cfg, c.check, c.result, c.detail, c.mend)
		})
	}
}
