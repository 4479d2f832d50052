package keyring

import "context"

// Step takes what is due.
func (k *Keeper) Step(ctx context.Context) { k.steps(ctx) }
