// Package reason is the catalogue of texts for reason codes: what a decision's code means, in plain words, in the languages of its
// readers. Codes are stable and stand in records; texts may be improved and translated without touching one.
package reason
