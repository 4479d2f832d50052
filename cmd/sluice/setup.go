package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/postgres"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

// configName is the file that init writes and the others read.
const configName = "sluice.yaml"

// configFlag adds --config.
func (a *app) configFlag(c *cobra.Command) *string {
	return c.Flags().StringP("config", "c", "", "settings file (SLUICE_CONFIG; default "+configName+")")
}

// settingsFrom reads, completes and validates the settings file.
func (a *app) settingsFrom(path string) (settings.Settings, error) {
	path = a.setting(path, "SLUICE_CONFIG", configName)
	file, err := os.Open(path)
	if err != nil {
		return settings.Settings{}, usage("settings: %w (\"sluice init\" writes a file)", err)
	}
	defer file.Close()
	s, err := settings.Parse(file)
	if err != nil {
		return settings.Settings{}, usage("%s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return settings.Settings{}, err
	}
	s = s.In(dir)
	if err := s.Validate(); err != nil {
		return settings.Settings{}, usage("%s:\n%w", path, err)
	}
	return s, nil
}

// keeper is what both stores offer to commands that work without a server.
type keeper interface {
	store.Store
	restorer
}

func (a *app) openStore(ctx context.Context, s settings.Settings) (keeper, error) {
	if s.Store.Kind == settings.Postgres {
		return postgres.Open(ctx, postgres.Options{URL: s.Store.URL, Rand: a.rand})
	}
	if err := durable.Private(durable.OS{}, s.Data); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return embedded.Open(ctx, embedded.Options{Dir: s.Data, Rand: a.rand})
}

// initOptions is what init is told.
type initOptions struct {
	dir, host, listen, management, slug, name string
	storeURL, cert, key, roots, tokenOut      string
	managementCert, managementKey             string
	trust, peers                              []string
	issuer                                    bool
}

func (a *app) initCommand() *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init",
		Short: "Write settings and keys, and make the first participant and the first operator's token",
		Long: `Init makes a directory ready for "sluice serve": it writes ` + configName + `, draws the keys of the first participant, makes its record
and decision log, and makes a token of the whole process with the role operator. The token is shown once; only its hash is kept.

Init never overwrites: it refuses when the settings file is there.`,
		Example: `  sluice init --host localhost:8443 --participant aurora --name "Aurora Motors"
  sluice init --host connector.boreal.example --listen :8443 --cert chain.pem --key key.pem \
    --participant boreal --name "Boreal Drives" --store-url postgres://sluice@db/sluice --token-out operator.token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.initialise(cmd.Context(), o) },
	}
	f := c.Flags()
	d := settings.Default()
	f.StringVar(&o.dir, "dir", ".", "directory to make ready")
	f.StringVar(&o.host, "host", d.Public.Host, "host, with :port unless it is 443, under which peers reach it; part of the DID for ever")
	f.StringVar(&o.listen, "listen", d.Public.Listen, "address that peers reach")
	f.StringVar(&o.management, "management", d.Management.Listen, "address of the management API")
	f.StringVar(&o.slug, "participant", "", "slug of the first participant (required)")
	f.StringVar(&o.name, "name", "", "its name, for people (default: the slug)")
	f.BoolVar(&o.issuer, "issuer", false, "the first participant issues credentials to others")
	f.StringVar(&o.storeURL, "store-url", "", "use PostgreSQL at this URL instead of the embedded store")
	f.StringVar(&o.cert, "cert", "", "PEM file of the certificate chain that peers see")
	f.StringVar(&o.key, "key", "", "PEM file of its private key")
	f.StringVar(&o.managementCert, "management-cert", "", "PEM file of the certificate chain of the management API")
	f.StringVar(&o.managementKey, "management-key", "", "PEM file of its private key")
	f.StringVar(&o.roots, "roots", "", "PEM file of further certificate authorities to trust for peers")
	f.StringArrayVar(&o.trust, "trust", nil, "issuer and what it may issue: DID=Type,Type (may be repeated)")
	f.StringArrayVar(&o.peers, "peer-origin", nil, "origin outside the public address space that peers may have (may be repeated)")
	f.StringVar(&o.tokenOut, "token-out", "", "write the token to this file, readable by its owner only, instead of showing it")
	_ = c.MarkFlagRequired("participant")
	return c
}

func (o initOptions) settings() (settings.Settings, error) {
	s := settings.Default()
	s.Public = settings.Listener{Listen: o.listen, Host: o.host, Cert: o.cert, Key: o.key}
	s.Management = settings.Management{Listen: o.management, Cert: o.managementCert, Key: o.managementKey}
	name := o.name
	if name == "" {
		name = o.slug
	}
	s.Participants = []settings.Participant{{Slug: o.slug, Name: name, Issuer: o.issuer}}
	if o.storeURL != "" {
		s.Store = settings.Store{Kind: settings.Postgres, URL: o.storeURL}
	}
	s.Egress.Roots = o.roots
	s.Egress.Peers = append(s.Egress.Peers, o.peers...)
	for _, t := range o.trust {
		issuer, kinds, ok := strings.Cut(t, "=")
		if !ok {
			return s, usage("trust %q: want DID=Type,Type", t)
		}
		s.Profiles[0].Trust = append(s.Profiles[0].Trust, settings.Trust{Issuer: issuer, Credentials: strings.Split(kinds, ",")})
	}
	if err := s.Validate(); err != nil {
		return s, usage("%w", err)
	}
	return s, nil
}

func (a *app) initialise(ctx context.Context, o initOptions) error {
	s, err := o.settings()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	master, err := a.master()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, configName)
	keep, undo, err := reserve(o.tokenOut)
	if err != nil {
		return err
	}
	defer undo()
	if err := writeNew(path, 0o644, func(w io.Writer) error { return settings.Print(w, s) }); err != nil {
		return err
	}
	// The connector itself makes participants, keys and logs: what init leaves is what serve would make.
	c, err := connector.New(ctx, connector.Config{Settings: s.In(dir), Master: master, Now: a.now, Rand: a.rand})
	if err != nil {
		return err
	}
	secret, did, key, err := a.first(ctx, c, o.slug, s.In(dir).Data)
	if err = errors.Join(err, c.Close()); err != nil {
		return err
	}
	if err := handOver(keep, secret, "init"); err != nil {
		return err
	}
	if o.tokenOut != "" {
		secret = ""
	}
	if a.json {
		return a.value(map[string]string{"config": path, "participant": o.slug, "did": did, "logKey": key, "token": secret, "tokenFile": o.tokenOut})
	}
	a.fields("settings", path, "data", s.In(dir).Data, "participant", o.slug, "DID", did, "log key", key, "token", secret, "token file", o.tokenOut)
	if secret != "" {
		fmt.Fprintln(a.stderr, a.paint(a.stderr, yellow, "The token is shown only now. Keep it where SLUICE_TOKEN or --token-file finds it."))
	}
	return nil
}

// first makes the first token and reads what there is to tell of the first participant.
func (a *app) first(ctx context.Context, c *connector.Connector, slug, data string) (secret, did, key string, err error) {
	p, err := c.Participant(ctx, slug)
	if err != nil {
		return "", "", "", err
	}
	if key, err = c.VerifierKey(ctx, p); err != nil {
		return "", "", "", err
	}
	document, err := c.DIDDocument(p)
	if err != nil {
		return "", "", "", err
	}
	// For eyes, and for a web server in front that would rather serve a file; the connector serves the document itself.
	if err := writeNew(filepath.Join(data, slug+".did.json"), 0o644, func(w io.Writer) error { _, err := w.Write(append(document, '\n')); return err }); err != nil {
		return "", "", "", err
	}
	secret, token, err := rpc.NewToken(a.rand, store.Token{Role: rpc.Operator, Label: "init", Created: a.now()})
	if err == nil {
		err = c.Store().PutToken(ctx, token)
	}
	return secret, string(p.DID), key, err
}

// reserve makes the file that a secret will be written to, before anything is done that only that secret opens. With "" it is nowhere.
// What fill did not fill is removed by undo.
func reserve(path string) (fill func(secret string) error, undo func(), err error) {
	if path == "" {
		return func(string) error { return nil }, func() {}, nil
	}
	file, err := create(path, 0o600)
	if err != nil {
		return nil, nil, err
	}
	filled := false
	fill = func(secret string) error {
		_, err := fmt.Fprintln(file, secret)
		err = errors.Join(err, file.Sync(), file.Close())
		filled = err == nil
		return err
	}
	return fill, func() {
		if !filled {
			_ = file.Close()
			_ = os.Remove(path)
		}
	}, nil
}

// handOver keeps the only secret that opens what was done. Where that fails it is told all the same: there will be no other.
func handOver(keep func(secret string) error, secret, done string) error {
	if err := keep(secret); err != nil {
		return fmt.Errorf("%s is done, the token could not be written, it is %s: %w", done, secret, err)
	}
	return nil
}

func create(path string, mode os.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return nil, &exitError{code: exitConflict, err: fmt.Errorf("%s is there already; nothing was changed", path)}
	}
	return file, err
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, mode os.FileMode, write func(io.Writer) error) error {
	file, err := create(path, mode)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Sync(), file.Close())
}

func (a *app) configCommand() *cobra.Command {
	show := &cobra.Command{
		Use:   "print",
		Short: "Print settings with their manual as comments: the defaults, or those of a file",
		Example: `  sluice config print > sluice.yaml
  sluice config print --config sluice.yaml`,
		Args: cobra.NoArgs,
	}
	path := show.Flags().StringP("config", "c", "", "settings file (default: none, print the defaults)")
	show.RunE = func(*cobra.Command, []string) error {
		s := settings.Default()
		if *path != "" {
			file, err := os.Open(*path)
			if err != nil {
				return usage("settings: %w", err)
			}
			defer file.Close()
			if s, err = settings.Parse(file); err != nil {
				return usage("%s: %w", *path, err)
			}
		}
		return settings.Print(a.stdout, s)
	}
	return group("config", "Show settings", show)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		v := map[string]string{"version": "devel", "go": "", "commit": "", "time": ""}
		if info, ok := debug.ReadBuildInfo(); ok {
			v["go"] = info.GoVersion
			if info.Main.Version != "" && info.Main.Version != "(devel)" {
				v["version"] = info.Main.Version
			}
			for _, s := range info.Settings {
				switch s.Key {
				case "vcs.revision":
					v["commit"] = s.Value
				case "vcs.time":
					v["time"] = s.Value
				}
			}
		}
		if a.json {
			return a.value(v)
		}
		a.fields("sluice", v["version"], "commit", v["commit"], "time", v["time"], "go", v["go"])
		return nil
	}}
}
