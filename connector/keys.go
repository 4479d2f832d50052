package connector

import (
	"context"
	"errors"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// openKeys finds the master key and makes the keeper of all others.
func (c *Connector) openKeys(ctx context.Context) (err error) {
	master := c.cfg.Master
	if master == nil {
		if master, err = keyring.FindMaster(ctx, c.store, c.cfg.Disk, c.cfg.Settings.MasterKey(), c.cfg.Rand); err != nil {
			return err
		}
	}
	c.keeper = keyring.NewKeeper(keyring.Config{Store: c.store, Master: master, Recorder: c.ledger, Now: c.cfg.Now, Rand: c.cfg.Rand, Log: c.cfg.Log,
		Changed: func(p participant.Participant, forget bool) {
			if forget {
				c.resolver.Forget(p.DID) // participants of one process trade with each other too
			}
		}})
	return nil
}

// fetchDocument gets a DID document, and tells a host that has none from one that does not answer.
func (c *Connector) fetchDocument(ctx context.Context, url string, limit int64) ([]byte, error) {
	body, err := c.peers.Fetch(ctx, url, limit)
	if errors.Is(err, egress.ErrAbsent) {
		err = errors.Join(identity.ErrGone, err)
	}
	return body, err
}

// Keys of a hosted participant.
func (c *Connector) Keys(p participant.Participant) (identity.Keys, error) { return c.hosted.Keys(p) }

// Keeper keeps the keys of all hosted participants.
func (c *Connector) Keeper() *keyring.Keeper { return c.keeper }
