// Package agreement holds concluded agreements. They are written once and never changed; ending one
// early is a separate [Retirement].
package agreement
