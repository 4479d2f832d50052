package aspect_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-connector/sluice/connector/aspect"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/schemas"
)

var models = sync.OnceValues(aspect.NewModels)

func check(t testing.TB, payload []byte) []aspect.Fault {
	t.Helper()
	m, err := models()
	if err != nil {
		t.Fatal(err)
	}
	faults, err := m.Check(schemas.PCF, payload)
	if err != nil {
		t.Fatal(err)
	}
	return faults
}

func footprint(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/footprint.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// with changes members of the footprint: JSON pointer, then the JSON text of the value, "" to take it away.
func with(t testing.TB, changes ...string) []byte {
	t.Helper()
	var root any
	d := json.NewDecoder(bytes.NewReader(footprint(t)))
	d.UseNumber()
	if err := d.Decode(&root); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(changes); i += 2 {
		steps := strings.Split(changes[i], "/")[1:]
		v := root
		for _, step := range steps[:len(steps)-1] {
			switch at := v.(type) {
			case map[string]any:
				v = at[step]
			case []any:
				n, err := strconv.Atoi(step)
				if err != nil {
					t.Fatal(err)
				}
				v = at[n]
			}
		}
		object, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("%s is not in an object", changes[i])
		}
		last := steps[len(steps)-1]
		if changes[i+1] == "" {
			delete(object, last)
		} else {
			object[last] = json.RawMessage(changes[i+1])
		}
	}
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	production  = "/productLifeCycleStagesAndEmissions/0/productionStage/0/"
	method      = "/pcfAssessmentAndMethodology/0/"
	information = method + "pcfAssessmentInformation/0/"
	product     = "/companyAndProductInformation/0/productInformation/0/"
	companyIDs  = "/companyAndProductInformation/0/companyInformation/0/companyIds"
	times       = information + "time/0/"
	identity    = information + "idAndVersion/0/"
)

func TestAFootprintThatIsRightHasNoFaults(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string][]byte{
		"the whole example":                    footprint(t),
		"groups that the model makes optional": with(t, "/companyAndProductInformation/0/companyInformation", "", method+"pcfAssessmentInformation", "", method+"pcfMethodology", ""),
		"members that the model does not name": with(t, "/extension", `{"anything":[1,2]}`),
		"a total rounded to its last digit":    with(t, production+"pcfExcludingBiogenicUptake", "3.4", production+"pcfIncludingBiogenicUptake", "3.4"),
		"no parts of the totals":               with(t, production+"fossilGhgEmissions", "", production+"pcfExcludingBiogenicUptake", "99"),
		"a number in exponent form":            with(t, production+"fossilGhgEmissions", "338e-2"),
		"a kilogram that weighs a kilogram":    with(t, product+"declaredUnitOfMeasurement", `"kilogram"`, product+"productMassPerDeclaredUnit", "1.000"),
		"times with a zone of their own":       with(t, times+"created", `"2026-01-15T10:00:00.5+01:00"`),
	} {
		if faults := check(t, payload); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

func TestEachFaultNamesItsPlaceAndWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		path    string
		set     string
		problem string // "" when the fault's path is another one
		want    string
	}{
		{"a number as text", product + "declaredUnitAmount", `"1"`, "a JSON string", "number"},
		{"a member that must be there", product + "productNameCompany", "", "missing", ""},
		{"a unit that is none", product + "declaredUnitOfMeasurement", `"barrel"`, "known values", "kilogram"},
		{"nothing declared", product + "declaredUnitAmount", "0", "too small", "more than 0"},
		{"more than all", method + "dataSourcesAndQuality/0/primaryDataShare", "100.0000000000000000000001", "too large", "at most 100"},
		{"an uptake that adds", production + "biogenicCO2Uptake", "0.001", "too large", "at most 0"},
		{"a country in words", information + "geography/0/geographyCountry", `"Sweden"`, "right form", "SE"},
		{"an id that is no UUID", identity + "id", `"7"`, "right form", "UUID"},
		{"a day without a time", times + "created", `"2026-01-15"`, "right form", "2025-12-31T00:00:00Z"},
		{"a day that does not exist", times + "created", `"2026-02-30T00:00:00Z"`, "no such day", "2025"},
		{"two elements in a group of one", "/general", "[{},{}]", "2 elements", "at most 1"},
		{"no element in a group of one", "/carbonContent", "[]", "0 elements", "at least 1"},
		{"an id twice", companyIDs, `["urn:bpn:id:BPNL00000000COB1","urn:bpn:id:BPNL00000000COB1"]`, "equal", "once"},
		{"no business partner number", companyIDs, `["urn:example:cobalt"]`, "no id", "BPNL"},
		{"an empty name", product + "productNameCompany", `""`, "too short", "at least 1"},
		{"a total that is not its parts", production + "pcfExcludingBiogenicUptake", "3.413", "not the sum", "3.412"},
		{"a total off by one in its last digit, small as it is", production + "pcfIncludingBiogenicUptake", "3.4011", "not the sum", "3.401"},
		{"more with uptake than without", production + "pcfIncludingBiogenicUptake", "3.5", "larger than the one without", "3.412"},
		{"three percent left out", information + "boundarySpecifications/0/exemptedEmissionsPercent", "3", "left out", "less than 3"},
		{"a period that ends before it starts", times + "referencePeriodEnd", `"2024-12-31T00:00:00Z"`, "before it starts", "2025-01-01"},
		{"a period of four years", times + "referencePeriodStart", `"2021-12-30T00:00:00Z"`, "", ""},
		{"a validity that ended before it began", times + "validityPeriodEnd", `"2026-01-15T09:00:00Z"`, "before it starts", "2026-01-15"},
		{"a piece without a mass", product + "productMassPerDeclaredUnit", "0", "a piece has a mass", "more than 0"},
		{"a kilogram of seventy grams", product + "declaredUnitOfMeasurement", `"kilogram"`, "", ""},
		{"an attribution without mass balancing", method + "pcfMethodology/0/massBalancingInformation/0/freeAttributionInMassBalancing", `"true"`, "no mass balancing", "not applicable"},
		{"less carbon than its parts", "/carbonContent/0/carbonContentTotal", "0.0119", "less carbon", "0.012"},
		{"primary data of the future", identity + "retroOrProspectivePcfType", `"Progressive PCF"`, "", ""},
		{"a footprint that replaces itself", identity + "precedingPfIds", `[{"id":"urn:uuid:3893BB5D-DA16-4DC1-9185-11D97476C254"}]`, "", ""},
		{"an exponent that would fill the memory", production + "fossilGhgEmissions", "1e999999999", "too long", "exponent"},
		{"a number of a thousand digits", production + "fossilGhgEmissions", strings.Repeat("9", 1000), "too long", "characters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var found []string
			for _, f := range check(t, with(t, tt.path, tt.set)) {
				if f.Warn {
					continue
				}
				if (f.Path == tt.path || tt.problem == "") && strings.Contains(f.Problem, tt.problem) && strings.Contains(f.Want, tt.want) {
					return
				}
				found = append(found, f.Error())
			}
			t.Errorf("faults %q; want one at %s: %q, want %q", found, tt.path, tt.problem, tt.want)
		})
	}
}

func TestWhatIsOnlyWorthALookIsAWarning(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, path, set, problem string }{
		{"older factors", method + "pcfMethodology/0/gwpCharacterizationFactorDetails/0/ipccCharacterizationFactors", `"AR5"`, "current factors"},
		{"valid before its period has ended", times + "validityPeriodStart", `"2025-06-01T00:00:00Z"`, "before its reference period"},
		{"valid for long", times + "validityPeriodEnd", `"2032-01-01T00:00:00Z"`, "three years"},
		{"shares above a hundred", method + "verificationAndCertificationShares/0/programCertificationShare", "70", "130"},
		{"an uptake that its carbon does not explain", "/carbonContent/0/biogenicCarbonContent", "0.001", "does not fit"},
	} {
		faults := check(t, with(t, tt.path, tt.set))
		if len(faults) != 1 || !faults[0].Warn || !strings.Contains(faults[0].Problem, tt.problem) {
			t.Errorf("%s: %v; want one warning %q", tt.name, faults, tt.problem)
		}
	}
}

func TestAllFaultsAreReportedAtOnceInTheOrderOfTheirPlaces(t *testing.T) {
	t.Parallel()
	faults := check(t, with(t, production+"pcfExcludingBiogenicUptake", "-1", product+"declaredUnitAmount", "0", "/general", ""))
	want := []string{product + "declaredUnitAmount", "/general", production + "pcfExcludingBiogenicUptake"}
	if len(faults) != len(want) {
		t.Fatalf("faults %v", faults)
	}
	for i, f := range faults {
		if f.Path != want[i] {
			t.Errorf("fault %d is at %s; want %s", i, f.Path, want[i])
		}
	}
}

func TestAHostilePayloadHasOneFaultAndShortMessages(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string]string{
		"nothing":              "",
		"not JSON":             "{",
		"a member twice":       `{"general":[],"general":[]}`,
		"too deep":             strings.Repeat("[", 1000),
		"too large":            `"` + strings.Repeat("x", aspect.MaxPayload) + `"`,
		"too many values":      "[" + strings.Repeat("[1,1,1,1,1,1,1,1],", aspect.MaxValues/8) + "1]",
		"a text of a megabyte": `{"general":"` + strings.Repeat("x", 60<<10) + `"}`,
	} {
		faults := check(t, []byte(payload))
		if len(faults) == 0 {
			t.Errorf("%s: no fault", name)
		}
		for _, f := range faults {
			if len(f.Error()) > 1000 {
				t.Errorf("%s: a message of %d bytes", name, len(f.Error()))
			}
		}
	}
}

func TestThousandsOfFaultsAreCounted(t *testing.T) {
	t.Parallel()
	ids := strings.TrimSuffix(strings.Repeat("1,", 5000), ",")
	faults := check(t, with(t, companyIDs, "["+ids+"]"))
	if last := faults[len(faults)-1]; len(faults) != aspect.MaxFaults+1 || !strings.Contains(last.Problem, "more faults") {
		t.Errorf("%d faults, the last %v", len(faults), last)
	}
}

func TestAModelThatIsNotHereIsAnError(t *testing.T) {
	t.Parallel()
	m, err := models()
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Check("urn:samm:io.catenax.pcf:1.0.0#Pcf", footprint(t))
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.NotFound {
		t.Errorf("error %v; want not found", err)
	}
	if m.Known("urn:samm:io.catenax.pcf:1.0.0#Pcf") || !m.Known(schemas.PCF) || fmt.Sprint(m.URNs()) != "["+schemas.PCF+"]" {
		t.Errorf("models %v", m.URNs())
	}
}

// FuzzCheck holds that any bytes get an answer, the same twice, and that a payload without faults has the totals it claims.
func FuzzCheck(f *testing.F) {
	f.Add(footprint(f))
	f.Add(with(f, production+"fossilGhgEmissions", "1e300", product+"declaredUnitAmount", "1e-300"))
	f.Add(with(f, times+"created", `"2026-01-15T10:00:00.5+01:00"`, "/general", `[{"comment":"\u0000~/"}]`))
	f.Add([]byte(`{"a~/b":[1e5]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		faults := check(t, payload)
		again := check(t, payload)
		if len(faults) != len(again) {
			t.Errorf("%d faults, then %d", len(faults), len(again))
		}
		if len(faults) == 0 && !json.Valid(payload) {
			t.Error("what is no JSON conforms")
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	payload := footprint(b)
	for b.Loop() {
		check(b, payload)
	}
}
