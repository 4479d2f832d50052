// Package e2e tells the stories of whole connectors that talk to each other over real HTTP, with real
// stores and real TLS, and holds the rules that no single package can check: the layers of the house.
package e2e
