package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/postgres"
)

// directory checks who may read what is secret.
func (x *examination) directory() {
	const check = "data directory"
	dir := x.set.Data
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x.add(check, Warning, dir+" is not there yet: the first start makes it", x.serve())
	case err != nil:
		x.add(check, Fault, err.Error(), "ls -ld "+dir)
	case !info.IsDir():
		x.add(check, Fault, dir+" is no directory", "settings key data")
	case info.Mode().Perm()&0o077 != 0:
		x.add(check, Fault, fmt.Sprintf("%s has mode %v: others may look in", dir, info.Mode().Perm()), "chmod 700 "+dir)
	default:
		x.add(check, OK, dir, "")
	}
}

// openStore opens the store to look at it. What it returns closes it.
func (x *examination) openStore(ctx context.Context) (done func()) {
	const check = "store"
	done = func() {}
	kind := x.set.Store.Kind
	mend := "settings key store.url"
	if kind == settings.Embedded {
		mend = "ls -l " + filepath.Join(x.set.Data, embedded.File)
	}
	opened, err := x.look(ctx)
	switch {
	case kind == settings.Embedded && errors.Is(err, fs.ErrNotExist):
		x.add(check, Warning, "there is none yet: the first start makes it", x.serve())
		return done
	case errors.Is(err, store.ErrOlder):
		x.add(check, Warning, err.Error()+": the next start brings it up, and what is in it was not looked at", x.serve())
		return done
	case err != nil:
		x.add(check, Fault, err.Error(), mend)
		return done
	}
	done = func() { _ = opened.Close() }
	if x.hosted, err = opened.Participants(ctx); err != nil {
		x.add(check, Fault, err.Error(), mend)
		return done
	}
	x.store = opened
	x.add(check, OK, kind+": it can be read", "")
	if len(x.hosted) > maxHosted {
		x.add("participants", Warning, fmt.Sprintf("there are %d: the first %d of them are looked at", len(x.hosted), maxHosted), "sluice participants list")
	}
	for _, p := range x.hosted {
		if want := identity.FormatDID(x.set.Public.Host, p.Slug); p.DID != want {
			x.add("DID of "+p.Slug, Fault, fmt.Sprintf("it was made as %s, and public.host would make it %s: a DID never changes", p.DID, want), "settings key public.host")
		}
	}
	return done
}

func (x *examination) look(ctx context.Context) (store.Store, error) {
	if x.set.Store.Kind == settings.Postgres {
		return postgres.Look(ctx, postgres.Options{URL: x.set.Store.URL, Rand: x.cfg.Rand})
	}
	return embedded.Look(ctx, embedded.Options{Dir: x.set.Data, Rand: x.cfg.Rand})
}

// keys checks that the master key opens the keys in the store.
func (x *examination) keys(ctx context.Context) {
	const check = "master key"
	if x.store == nil {
		return
	}
	where := "SLUICE_MASTER_KEY"
	master := x.cfg.Master
	if master == nil {
		var err error
		where = x.set.MasterKey()
		master, err = keyring.ReadMaster(x.cfg.Disk, where, x.cfg.Rand)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if wrapped, err := x.store.Masters(ctx); err == nil && len(wrapped) == 0 {
				x.add(check, Warning, where+" is not there yet: the first start makes it", x.serve())
				return
			}
			x.add(check, Fault, where+" is not there, and the keys in the store cannot be read without it: bring it back, or set SLUICE_MASTER_KEY", "cp BACKUP "+where)
			return
		case err != nil:
			x.add(check, Fault, err.Error(), "chmod 600 "+where)
			return
		}
	}
	x.add(check, OK, where, "")
	keeper := keyring.NewKeeper(keyring.Config{Store: x.store, Master: master, Now: x.cfg.Now, Rand: x.cfg.Rand})
	for _, p := range x.locals() {
		check := "keys of " + p.Slug
		switch _, err := keeper.Open(ctx, p.Slug); {
		case fault.Is(err, fault.NotFound):
			x.add(check, Warning, "there are none yet: the next start makes them, or takes them over from an earlier version", x.serve())
		case err != nil:
			x.add(check, Fault, err.Error(), "bring the master key back that wrapped them ("+where+"), or: sluice restore BACKUP")
		default:
			x.add(check, OK, "the master key opens them", "")
		}
	}
}
