// Package doctor looks at everything that a connector needs and says what is wrong, why that matters, and what mends it.
//
//	findings := doctor.Examine(ctx, doctor.Config{Settings: s, …})
//
// It looks from two sides. From inside it reads the settings, the files that they name, and the store, whether a connector serves from it at the
// moment or not. From outside it asks for the DID documents that peers ask for, of the companies hosted here, of the issuers that are believed and of
// a few partners, by the same guarded way out that a connector has; what comes back is held against what the store says, and its dates against
// this machine's clock.
//
// Nothing is changed: no row, no file, no schema. Nothing that is secret is sent anywhere. A check that cannot be made says so: it is not passed.
package doctor
