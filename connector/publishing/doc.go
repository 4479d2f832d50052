// Package publishing brings a file of footprints into the catalog: it is read and checked row by row, each right row becomes an asset
// with its aspect as content, and all of them are offered under a policy template of the profile.
//
//	file ──► sheet ──► faults, told per cell
//	              └──► assets, contents, terms ──► catalog: one commit
//
// What a template offers is what was published under it, never an asset that came another way. The same file again replaces what it
// published before and leaves the offers as they are. What a spreadsheet is, package sheet knows; what an aspect must hold, aspect.
package publishing
