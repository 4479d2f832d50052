package dcptck

import (
	"bytes"
	"io"
	"net/http"

	"github.com/sluice-connector/sluice/connector/protocol/dsp"
)

// Trigger is what the kit calls to have its presentation verified. The message that the kit sends is of no version of the Dataspace Protocol,
// so the trigger asks for our catalog in due form, with the token that the kit sent, and answers with what it was answered.
func (c *Company) Trigger() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := dsp.EncodeCatalogRequest()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		out, err := http.NewRequestWithContext(r.Context(), http.MethodPost, c.Root+"/"+c.Member.Slug+"/dsp/2025-1/catalog/request", bytes.NewReader(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		out.Header.Set("Content-Type", "application/json")
		out.Header["Authorization"] = r.Header["Authorization"]
		answer, err := http.DefaultClient.Do(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	})
}
