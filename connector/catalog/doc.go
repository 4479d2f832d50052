// Package catalog knows what is offered, and to whom it may be shown.
//
// An [Asset] is something offered, a [Definition] a policy, a [Rule] says which assets are offered under
// which access policy (who may see it) and usage policy (what they may do). Rules and assets multiply
// into [Offer] rows with stored, arbitrary ids. The access policy is asked at the catalog door once per
// distinct policy and caller, and one decision record is kept per catalog request.
package catalog
