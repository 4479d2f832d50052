package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

// master returns the master key of the environment; nil when it is in the file that the settings name.
func (a *app) master() (keyring.Master, error) {
	text := a.env("SLUICE_MASTER_KEY")
	if text == "" {
		return nil, nil
	}
	m, err := keyring.ParseMaster(text, a.rand)
	if err != nil {
		return nil, usage("SLUICE_MASTER_KEY: %w", err)
	}
	return m, nil
}

// keysOf opens the keys of a participant without a connector; done closes the store.
func (a *app) keysOf(ctx context.Context, s settings.Settings, slug string) (keys identity.Keys, done func(), err error) {
	master, err := a.master()
	if err == nil && master == nil {
		if master, err = keyring.ReadMaster(durable.OS{}, s.MasterKey(), a.rand); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; the first \"sluice serve\" or \"sluice init\" makes it", err)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	st, err := a.openStore(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	keeper := keyring.NewKeeper(keyring.Config{Store: st, Master: master, Now: a.now, Rand: a.rand, Log: a.logger(s.Log)})
	if keys, err = keeper.Open(ctx, slug); err != nil {
		if fault.Is(err, fault.NotFound) {
			err = fmt.Errorf("participant %s has no keys here", slug)
		}
		return nil, nil, errors.Join(err, st.Close())
	}
	return keys, func() { _ = st.Close() }, nil
}
