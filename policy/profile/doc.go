// Package profile is an ecosystem as data: which policy terms it has and what they may say, which credentials prove
// what, how its assets are described. Code does not know the ecosystems' names; a new one is a new file.
package profile
