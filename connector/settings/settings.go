package settings

import (
	"bytes"
	_ "embed" // the default file
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"gopkg.in/yaml.v3"
)

// MaxBytes bounds the file.
const MaxBytes = 1 << 20

// Settings is the whole file. The manual of each field is the comment beside it in the default file ("sluice config print").
type Settings struct {
	Data         string        `yaml:"data"`
	Store        Store         `yaml:"store"`
	Keys         Keys          `yaml:"keys"`
	Public       Listener      `yaml:"public"`
	Management   Management    `yaml:"management"`
	Participants []Participant `yaml:"participants"`
	Wallet       Wallet        `yaml:"wallet"`
	Profiles     []Profile     `yaml:"profiles"` // the first is that of who names none
	Verification Verification  `yaml:"verification"`
	Egress       Egress        `yaml:"egress"`
	Limits       Limits        `yaml:"limits"`
	Log          Log           `yaml:"log"`
}

// Store says where records are kept.
type Store struct {
	Kind string `yaml:"kind"` // Embedded or Postgres
	URL  string `yaml:"url"`
}

// The kinds of store.
const (
	Embedded = "embedded"
	Postgres = "postgres"
)

// Keys says where the master key is.
type Keys struct {
	Master string `yaml:"master"` // file; see Settings.MasterKey
}

// MasterKey is the file of the master key.
func (s Settings) MasterKey() string {
	if s.Keys.Master != "" {
		return s.Keys.Master
	}
	return filepath.Join(s.Data, "master.key")
}

// Listener is what peers reach.
type Listener struct {
	Listen string `yaml:"listen"`
	Host   string `yaml:"host"` // host[:port] as it stands in DIDs and URLs
	Cert   string `yaml:"cert"`
	Key    string `yaml:"key"`

	Proxies []string `yaml:"proxies"` // addresses and networks
}

// Management is where the management API listens.
type Management struct {
	Listen string     `yaml:"listen"`
	Hosts  []string   `yaml:"hosts"` // names without port
	Cert   string     `yaml:"cert"`
	Key    string     `yaml:"key"`
	OIDC   []Provider `yaml:"oidc"`
}

// Participant is a company to host.
type Participant struct {
	Slug    string `yaml:"slug"`
	Name    string `yaml:"name"`
	Profile string `yaml:"profile,omitempty"` // id of one of the profiles
	Issuer  bool   `yaml:"issuer,omitempty"`  // switched on at start; it is never switched off
}

// Profile is an ecosystem and our place in it.
type Profile struct {
	Use         string        `yaml:"use"` // one that comes with the binary, or a file; empty: the default one
	Trust       []Trust       `yaml:"trust"`
	Required    []string      `yaml:"required,omitempty"`     // scopes
	ListEntries int           `yaml:"list_entries,omitempty"` // 0: ListEntries
	ListGrace   time.Duration `yaml:"list_grace,omitempty"`
	Directory   Directory     `yaml:"directory,omitempty"`
	Accepts     []string      `yaml:"accepts"`
	Offered     bool          `yaml:"offered"`
}

// Directory is where an ecosystem keeps its directory of numbers.
type Directory struct {
	URL string `yaml:"url"`           // "/bpn-directory" follows it
	DID string `yaml:"did,omitempty"` // of who keeps it, when it wants proofs made for itself
}

// ListEntries is how many entries a status list must have where the settings do not say.
const ListEntries = 131072

// File is the file that Use names; "" when it names none.
func (p Profile) File() string {
	if ext := filepath.Ext(p.Use); ext == ".yaml" || ext == ".yml" {
		return p.Use
	}
	return ""
}

// Trust says which types of credential an issuer may issue.
type Trust struct {
	Issuer      string   `yaml:"issuer"` // DID
	Credentials []string `yaml:"credentials"`
	Status      []string `yaml:"status,omitempty"` // DIDs that may publish its status lists besides itself
}

// Wallet says what is done about credentials without an operator.
type Wallet struct {
	Renew   float64       `yaml:"renew"`   // part of a credential's life; 0: never
	Request []string      `yaml:"request"` // types
	Look    time.Duration `yaml:"look"`
	GiveUp  time.Duration `yaml:"give_up"`
	Watch   time.Duration `yaml:"watch"` // 0: never
	Exact   bool          `yaml:"exact"`
}

// Verification says how peers' credentials are checked.
type Verification struct {
	Remember time.Duration `yaml:"remember"`
	ListLife time.Duration `yaml:"list_life"`
	Informal []string      `yaml:"informal"` // DIDs
	Schemas  []string      `yaml:"schemas"`  // https URLs; one that ends in a slash stands for what lies below
	Envelope bool          `yaml:"envelope"`
}

// Egress says where this process may connect to, beyond public addresses of peers.
type Egress struct {
	Peers     []string   `yaml:"peers"` // scheme://host:port
	Upstreams []Upstream `yaml:"upstreams"`
	Callbacks []string   `yaml:"callbacks"` // scheme://host:port
	Roots     string     `yaml:"roots"`
	Secrets   []Secret   `yaml:"secrets"`
}

// Upstream is one of the companies' own servers behind assets.
type Upstream struct {
	Origin       string   `yaml:"origin"`                 // scheme://host:port
	Participants []string `yaml:"participants,omitempty"` // slugs; see Settings.Owns
}

// Secret is a credential for upstreams. Assets of its participants name it; it is sent to its origins only.
type Secret struct {
	Name         string   `yaml:"name"`
	Origins      []string `yaml:"origins"` // scheme://host:port
	Header       string   `yaml:"header"`
	File         string   `yaml:"file"`                   // holds the value of the header
	Participants []string `yaml:"participants,omitempty"` // slugs; see Settings.Owns
}

// Limits are bounds.
type Limits struct {
	OpenProcesses int           `yaml:"open_processes"`
	GiveUp        time.Duration `yaml:"give_up"`
	Approval      time.Duration `yaml:"approval"`
	Streams       int           `yaml:"streams"`
	Requests      int           `yaml:"credential_requests"`

	Connections        int `yaml:"connections"`
	AddressConnections int `yaml:"address_connections"`
	AddressRate        int `yaml:"address_rate"` // a second
	AddressBurst       int `yaml:"address_burst"`
	PeerRate           int `yaml:"peer_rate"` // a second
	PeerBurst          int `yaml:"peer_burst"`
}

// Networks are the proxies as networks, an address being a network of one; those that are neither are left out.
func (l Listener) Networks() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range l.Proxies {
		if n, ok := network(text); ok {
			all = append(all, n)
		}
	}
	return all
}

func network(text string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), true
	}
	n, err := netip.ParsePrefix(text)
	return n, err == nil && n.Masked() == n && !n.Addr().Is4In6()
}

// Log is the process's own log.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

//go:embed default.yaml
var defaultFile []byte

// Default returns the settings of an empty file.
func Default() Settings {
	return Settings{
		Data:         "data",
		Store:        Store{Kind: Embedded},
		Public:       Listener{Listen: "127.0.0.1:8443", Host: "localhost:8443", Proxies: []string{}},
		Management:   Management{Listen: "127.0.0.1:8444", Hosts: []string{}, OIDC: []Provider{}},
		Participants: []Participant{},
		Wallet:       Wallet{Renew: 0.75, Request: []string{}, Look: 10 * time.Minute, GiveUp: 7 * 24 * time.Hour, Watch: time.Hour},
		Profiles:     []Profile{{Trust: []Trust{}, Accepts: []string{"cx.pcf.base:1"}}},
		Verification: Verification{Remember: 5 * time.Minute, ListLife: 5 * time.Minute, Informal: []string{}, Schemas: []string{}},
		Egress:       Egress{Peers: []string{}, Upstreams: []Upstream{}, Callbacks: []string{}, Secrets: []Secret{}},
		Limits: Limits{OpenProcesses: 1000, GiveUp: 24 * time.Hour, Approval: 72 * time.Hour, Streams: 4096, Requests: 100,
			Connections: 10_000, AddressConnections: 128, AddressRate: 50, AddressBurst: 100, PeerRate: 1000, PeerBurst: 2000},
		Log: Log{Level: "info", Format: "text"},
	}
}

// Owns reports whether an upstream or a secret that names these participants belongs to the slug. What names none belongs to the only
// participant of the file; where there are several, or none, it belongs to nobody and is not valid.
func (s Settings) Owns(slug string, participants []string) bool {
	if len(participants) > 0 {
		return slices.Contains(participants, slug)
	}
	return len(s.Participants) == 1 && s.Participants[0].Slug == slug
}

// Parse reads a file of at most MaxBytes over the defaults. It refuses unknown and repeated keys, a second document, and
// wrong types, and names the line. It does not validate.
func Parse(r io.Reader) (Settings, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	if len(data) > MaxBytes {
		return Settings{}, fmt.Errorf("settings: the file has more than %d bytes", MaxBytes)
	}
	s := Default()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Settings{}, errors.New("settings: the file has a second document")
	}
	return s, nil
}

// In returns the settings with relative paths made relative to dir, the directory of the file.
func (s Settings) In(dir string) Settings {
	for _, path := range []*string{&s.Data, &s.Keys.Master, &s.Public.Cert, &s.Public.Key, &s.Management.Cert, &s.Management.Key,
		&s.Egress.Roots} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	s.Profiles = slices.Clone(s.Profiles)
	for i, p := range s.Profiles {
		if file := p.File(); file != "" && !filepath.IsAbs(file) {
			s.Profiles[i].Use = filepath.Join(dir, file)
		}
	}
	s.Egress.Secrets = slices.Clone(s.Egress.Secrets)
	for i, secret := range s.Egress.Secrets {
		if !filepath.IsAbs(secret.File) {
			s.Egress.Secrets[i].File = filepath.Join(dir, secret.File)
		}
	}
	return s
}
