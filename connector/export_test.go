package connector

import (
	"log/slog"
	"net/http"
)

// Public is the server that peers reach, for the tests of what a slow one can do.
func Public(h http.Handler, protocols *http.Protocols, log *slog.Logger) *http.Server {
	c := &Connector{cfg: Config{Log: log}}
	return c.server(h, protocols, arrival).Server
}
