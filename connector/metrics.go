package connector

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluice-connector/sluice/connector/transfer"
)

// metrics are what the process counts, for the management API to show. No label names a company: who trades with whom, and how much, is not for
// whoever keeps the figures.
type metrics struct {
	all       *prometheus.Registry
	exchanges *prometheus.CounterVec
}

// newMetrics begins at nothing. What others count already is read when somebody asks.
func (c *Connector) newMetrics() metrics {
	m := metrics{all: prometheus.NewRegistry(), exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_exchanges_total",
		Help: "Transfers under which data may flow for the first time, by our role in them."}, []string{"role"})}
	for _, role := range []transfer.Role{transfer.Provider, transfer.Consumer} {
		m.exchanges.WithLabelValues(string(role))
	}
	m.all.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.exchanges)
	for kind := range c.calls.Counts() {
		m.all.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "sluice_identity_calls_total",
			Help: "Outbound calls that it took to find out who peers are and what they have proven, by what was asked for.", ConstLabels: prometheus.Labels{"kind": kind.String()}},
			func() float64 { return float64(c.calls.Counts()[kind]) }))
	}
	m.all.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_flows", Help: "Streams of the data plane that run."}, func() float64 { return float64(c.Flows()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_status_lists_watched", Help: "Status lists that are watched for changes."}, func() float64 { return float64(c.Watching()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_status_list_waiters", Help: "Requests of others that wait for a status list of ours to change."},
			func() float64 { return float64(c.issuerService.Waiting()) }))
	return m
}

// began counts an exchange.
func (m metrics) began(role transfer.Role) { m.exchanges.WithLabelValues(string(role)).Inc() }

// handler shows everything in the text format of Prometheus.
func (m metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.all, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError)})
}
