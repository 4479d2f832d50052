package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
)

// restorer fills an empty store from a backup.
type restorer interface {
	Restore(ctx context.Context, r io.Reader, now time.Time) error
}

func (a *app) backupCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy of the store, while the connector runs or not",
		Long: `Backup writes the whole store of a settings file into FILE, from one moment. The same form serves both kinds of store. Keys are in it, wrapped: nobody reads
them without the master key, which is not in it. Keep a copy of that in a safer place than the backups. Stored checkpoints are not in it either, so that a restored log cannot hide
that it is older than what it once signed. Nor are management tokens: a restore makes a new one.`,
		Example: `  sluice backup --config sluice.yaml sluice-2026-03-01.backup`,
		Args:    cobra.ExactArgs(1),
	}
	path := a.configFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.settingsFrom(*path)
		if err != nil {
			return err
		}
		st, err := a.openStore(cmd.Context(), s)
		if err != nil {
			return err
		}
		if _, err := os.Lstat(args[0]); err == nil {
			return errors.Join(&exitError{code: exitConflict, err: fmt.Errorf("%s is there already; nothing was changed", args[0])}, st.Close())
		}
		err = writeWhole(args[0], func(w io.Writer) error { return st.Backup(cmd.Context(), w) })
		return errors.Join(err, st.Close())
	}
	return c
}

func (a *app) restoreCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Fill an empty store from a backup; the restore is declared and goes on record",
		Long: `Restore fills the empty store of a settings file from a backup of either kind of store, whole or not at all. The master key must be there, and the data
directory should hold its checkpoints. The restore is declared in the store: at the next start each decision log writes one record of kind rollback.recover, which
names the newest checkpoint it signed before and the record where it goes on, and goes on from there. Without that declaration a log that is
older than what it signed does not start again.

What happened after the backup is lost, so access is not taken over from it. Management tokens are gone: restore makes a new one with the role
operator and shows it once. What peers pulled from us is terminated: they must ask again. Retirements since the backup are lost: restore
lists the agreements in force whose data we provide; retire again those that had been ended. Revocations of keys since the backup are lost too:
restore lists the keys that are published; revoke again those that had been revoked. Revocations of credentials by our issuers are lost as well, and their status
lists say again what they said then: restore lists the credentials that are in force; revoke again those that had been revoked. What an issuer signed after the backup
is not known any more and cannot be taken back one by one: revoke the key that signed it. Transfers in which we pull go on.`,
		Example: `  sluice restore --config sluice.yaml --token-out operator.token sluice-2026-03-01.backup`,
		Args:    cobra.ExactArgs(1),
	}
	path := a.configFlag(c)
	tokenOut := c.Flags().String("token-out", "", "write the new token to this file, readable by its owner only, instead of showing it")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.settingsFrom(*path)
		if err != nil {
			return err
		}
		file, err := os.Open(args[0])
		if err != nil {
			return usage("%w", err)
		}
		defer file.Close()
		st, err := a.openStore(cmd.Context(), s)
		if err != nil {
			return err
		}
		return errors.Join(a.restore(cmd.Context(), st, file, *tokenOut), st.Close())
	}
	return c
}

// provided is an agreement in force whose data we provide.
type provided struct {
	Participant string `json:"participant"`
	Agreement   string `json:"agreement"`
	Peer        string `json:"peer"`
	Asset       string `json:"asset"`
}

func (a *app) restore(ctx context.Context, st keeper, file io.Reader, tokenOut string) error {
	keep, undo, err := reserve(tokenOut)
	if err != nil {
		return err
	}
	defer undo()
	if err := st.Restore(ctx, file, a.now()); err != nil {
		return err
	}
	secret, token, err := rpc.NewToken(a.rand, store.Token{Role: rpc.Operator, Label: "restore", Created: a.now()})
	if err == nil {
		err = st.PutToken(ctx, token)
	}
	if err != nil {
		return err
	}
	if err := handOver(keep, secret, "the restore"); err != nil {
		return err
	}
	if tokenOut != "" {
		secret = ""
	}
	inForce, err := agreementsInForce(ctx, st)
	if err != nil {
		return err
	}
	published, err := publishedKeys(ctx, st)
	if err != nil {
		return err
	}
	issued, err := a.credentialsInForce(ctx, st)
	if err != nil {
		return err
	}
	if a.json {
		return a.value(map[string]any{"token": secret, "tokenFile": tokenOut, "agreements": inForce, "keys": published, "credentials": issued})
	}
	a.fields("token", secret, "token file", tokenOut)
	fmt.Fprintln(a.stderr, a.paint(a.stderr, yellow, "Revocations of keys since the backup are lost. Look at these keys, and revoke again those that had been revoked:"))
	keys := make([][]string, 0, len(published))
	for _, k := range published {
		keys = append(keys, []string{k.Participant, k.Use, k.State, k.Key})
	}
	a.table([]string{"PARTICIPANT", "USE", "STATE", "KEY"}, keys)
	if len(issued) > 0 {
		fmt.Fprintln(a.stderr, a.paint(a.stderr, yellow, "Revocations of credentials since the backup are lost: until they are revoked again, the status lists call good what had been taken back. "+
			"Look at these credentials; what was signed after the backup is not among them, and only the revocation of the issuer's key takes it back:"))
		rows := make([][]string, 0, len(issued))
		for _, c := range issued {
			rows = append(rows, []string{c.Participant, c.State, c.Type, c.Holder, c.Credential})
		}
		a.table([]string{"PARTICIPANT", "STATE", "TYPE", "HOLDER", "CREDENTIAL"}, rows)
	}
	if len(inForce) == 0 {
		return nil
	}
	fmt.Fprintln(a.stderr, a.paint(a.stderr, yellow, "Retirements since the backup are lost. Look at these agreements, and retire again those that had been ended:"))
	rows := make([][]string, 0, len(inForce))
	for _, p := range inForce {
		rows = append(rows, []string{p.Participant, p.Agreement, p.Peer, p.Asset})
	}
	a.table([]string{"PARTICIPANT", "AGREEMENT", "PEER", "ASSET"}, rows)
	return nil
}

// publishedKey is a key that a DID document lists.
type publishedKey struct {
	Participant string `json:"participant"`
	Use         string `json:"use"`
	State       string `json:"state"`
	Key         string `json:"key"`
}

func publishedKeys(ctx context.Context, st store.Store) ([]publishedKey, error) {
	all, err := st.Participants(ctx)
	if err != nil {
		return nil, err
	}
	out := []publishedKey{}
	for _, p := range all {
		ring, err := st.Keyring(ctx, p.Slug)
		if fault.Is(err, fault.NotFound) {
			continue // of an earlier version, whose keys are in files: the first start takes them over
		}
		if err != nil {
			return nil, err
		}
		for _, k := range ring.Keys {
			if keyring.Published(k) {
				out = append(out, publishedKey{p.Slug, k.Use, k.State, k.ID})
			}
		}
	}
	return out, nil
}

// issuedCredential is one of an issuer of ours that has neither ended nor been revoked.
type issuedCredential struct {
	Participant string    `json:"participant"`
	Credential  string    `json:"credential"`
	Holder      string    `json:"holder"`
	Type        string    `json:"type"`
	State       string    `json:"state"`
	Expires     time.Time `json:"expires"`
}

func (a *app) credentialsInForce(ctx context.Context, st store.Store) ([]issuedCredential, error) {
	all, err := st.Participants(ctx)
	if err != nil {
		return nil, err
	}
	out := []issuedCredential{}
	for _, p := range all {
		for _, standing := range []issuer.Standing{issuer.Good, issuer.Suspended} {
			for r := (page.Request{Limit: page.MaxLimit}); ; {
				found, err := st.IssuerCredentials(ctx, p.ID, issuer.Filter{State: string(standing)}, r)
				if err != nil {
					return nil, err
				}
				for _, c := range found.Items {
					if a.now().Before(c.Expires) {
						out = append(out, issuedCredential{p.Slug, c.ID, string(c.Holder), c.Type, string(c.Standing), c.Expires})
					}
				}
				if r.After = found.Next; r.After == (page.Key{}) {
					break
				}
			}
		}
	}
	return out, nil
}

func agreementsInForce(ctx context.Context, st store.Store) ([]provided, error) {
	all, err := st.Participants(ctx)
	if err != nil {
		return nil, err
	}
	out := []provided{}
	for _, p := range all {
		for r := (page.Request{Limit: page.MaxLimit}); ; {
			found, err := st.Agreements(ctx, p.ID, "", r)
			if err != nil {
				return nil, err
			}
			for _, g := range found.Items {
				if g.Role == "provider" && g.Retired == nil {
					out = append(out, provided{p.Slug, g.ID, string(g.Peer()), g.Asset})
				}
			}
			if r.After = found.Next; r.After == (page.Key{}) {
				break
			}
		}
	}
	return out, nil
}
