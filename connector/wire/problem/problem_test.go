package problem_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

func TestEveryKindOfFaultHasARow(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		if !problem.Known(k) {
			t.Errorf("%q has no row", k)
		}
	}
}

func TestACauseIsNeverTold(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("secret"), fault.Wrap("op", fault.Unavailable, errors.New("secret")), fault.Wrap("op", fault.Internal, errors.New("secret"))} {
		w := httptest.NewRecorder()
		problem.Write(w, nil, err)
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: told %s", err, w.Body)
		}
	}
}
