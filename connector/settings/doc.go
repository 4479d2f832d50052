// Package settings is the configuration file of a connector: plain data, no parts.
//
// Parse reads YAML strictly (an unknown key is an error) over the defaults, Validate reports every fault at once, and Print
// writes the file back with its manual as comments. What is not data (clock, randomness, network, disk) is not here: it comes
// in through connector.Config. Nothing in this package reads the environment or opens another file.
package settings
