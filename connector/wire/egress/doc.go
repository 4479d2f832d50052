// Package egress is the one way out: every connection that this process opens to a peer or an upstream goes through its dialer.
//
// What a peer names can only reach public addresses, over https, on allowed ports, without redirects, and the check is made on the
// address that is dialled, after resolution, for every connection (security rules T-01 to T-04). An operator may list exact origins that
// are reached in spite of that: the data sources behind assets, or a test network.
package egress
