// Package connector joins the parts: it is the only place that knows them all.
//
// A [Config] carries the settings and everything that a test may want to own: clock, randomness, network, listener. [New] opens and
// joins, [Connector.Run] serves until its context ends, [Connector.Close] releases in reverse order.
package connector
