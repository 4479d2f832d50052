package aspect

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// at walks a decoded payload; groups are arrays of one element.
func at(v any, path ...string) any {
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
		if list, ok := v.([]any); ok && len(list) == 1 {
			v = list[0]
		}
	}
	return v
}

// decimal reads a number exactly.
func decimal(v any) *big.Rat {
	n, ok := v.(json.Number)
	if !ok || len(n) > 64 {
		return nil
	}
	if i := strings.IndexAny(n.String(), "eE"); i >= 0 && len(n.String())-i > 5 {
		return nil // an exponent of more than three digits would be expanded in full
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		return nil
	}
	return r
}

func instant(v any) (time.Time, bool) {
	s, _ := v.(string)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

const (
	production = "/productLifeCycleStagesAndEmissions/0/productionStage/0/"
	assessment = "/pcfAssessmentAndMethodology/0/pcfAssessmentInformation/0/"
	product    = "/companyAndProductInformation/0/productInformation/0/"
)

// checkPCF runs the plausibility rules on a footprint that conforms to its schema (CX-0136 and the PCF rulebook).
func checkPCF(v any) []Fault {
	var out []Fault
	fail := func(path, problem string, args ...any) {
		out = append(out, Fault{Path: path, Problem: fmt.Sprintf(problem, args...)})
	}
	warn := func(path, problem string, args ...any) {
		out = append(out, Fault{Path: path, Problem: fmt.Sprintf(problem, args...), Warn: true})
	}
	stage := at(v, "productLifeCycleStagesAndEmissions", "productionStage")
	checkSums(stage, fail)

	info := at(v, "pcfAssessmentAndMethodology", "pcfAssessmentInformation")
	if p := decimal(at(info, "boundarySpecifications", "exemptedEmissionsPercent")); p != nil && p.Cmp(big.NewRat(3, 1)) >= 0 {
		fail(assessment+"boundarySpecifications/0/exemptedEmissionsPercent", "%s percent are left out; want less than 3", p.FloatString(2))
	}
	checkTimes(info, fail, warn)

	unit, _ := at(v, "companyAndProductInformation", "productInformation", "declaredUnitOfMeasurement").(string)
	mass := decimal(at(v, "companyAndProductInformation", "productInformation", "productMassPerDeclaredUnit"))
	amount := decimal(at(v, "companyAndProductInformation", "productInformation", "declaredUnitAmount"))
	switch {
	case unit == "piece" && mass != nil && mass.Sign() == 0:
		fail(product+"productMassPerDeclaredUnit", "a piece has a mass; want more than 0 kg")
	case unit == "kilogram" && mass != nil && amount != nil && mass.Cmp(amount) != 0:
		fail(product+"productMassPerDeclaredUnit", "is %s, yet %s kilogram are declared; want the two equal", mass.FloatString(3), amount.FloatString(3))
	}
	balance := at(v, "pcfAssessmentAndMethodology", "pcfMethodology", "massBalancingInformation")
	if used, ok := at(balance, "massBalancingUsed").(bool); ok && !used && at(balance, "freeAttributionInMassBalancing") != "not applicable" {
		fail("/pcfAssessmentAndMethodology/0/pcfMethodology/0/massBalancingInformation/0/freeAttributionInMassBalancing",
			"want \"not applicable\" when no mass balancing is used")
	}
	total := decimal(at(v, "carbonContent", "carbonContentTotal"))
	fossil, biogenic := decimal(at(v, "carbonContent", "fossilCarbonContent")), decimal(at(v, "carbonContent", "biogenicCarbonContent"))
	if total != nil && fossil != nil && biogenic != nil && total.Cmp(new(big.Rat).Add(fossil, biogenic)) < 0 {
		fail("/carbonContent/0/carbonContentTotal", "is less than fossil and biogenic carbon together")
	}
	return out
}

// tolerance of sums: one millionth of the value, or half of a thousandth.
func within(a, b *big.Rat) bool {
	diff := new(big.Rat).Abs(new(big.Rat).Sub(a, b))
	allowed := new(big.Rat).Mul(new(big.Rat).Abs(a), big.NewRat(1, 1_000_000))
	if half := big.NewRat(1, 2000); allowed.Cmp(half) < 0 {
		allowed = half
	}
	return diff.Cmp(allowed) <= 0
}

// checkSums compares the totals with their parts, when all parts are given.
func checkSums(stage any, fail func(string, string, ...any)) {
	t1, t2 := decimal(at(stage, "pcfIncludingBiogenicUptake")), decimal(at(stage, "pcfExcludingBiogenicUptake"))
	if t1 == nil || t2 == nil {
		return
	}
	if t1.Cmp(t2) > 0 {
		fail(production+"pcfIncludingBiogenicUptake", "is larger than the value without uptake; uptake only takes away")
	}
	sum := new(big.Rat)
	for _, name := range []string{"fossilGhgEmissions", "biogenicNonCO2Emissions", "landUseChangeGhgEmissions", "landManagementBiogenicCO2Emissions",
		"landManagementBiogenicCO2Removals", "aircraftGhgEmissions"} {
		part := decimal(at(stage, name))
		if part == nil {
			return
		}
		sum.Add(sum, part)
	}
	if !within(t2, sum) {
		fail(production+"pcfExcludingBiogenicUptake", "is %s, yet its parts sum to %s", t2.FloatString(3), sum.FloatString(3))
	}
	uptake := decimal(at(stage, "biogenicCO2Uptake"))
	if uptake == nil {
		return
	}
	if sum.Add(sum, uptake); !within(t1, sum) {
		fail(production+"pcfIncludingBiogenicUptake", "is %s, yet its parts sum to %s", t1.FloatString(3), sum.FloatString(3))
	}
}

func checkTimes(info any, fail, warn func(string, string, ...any)) {
	times := at(info, "time")
	start, ok1 := instant(at(times, "referencePeriodStart"))
	end, ok2 := instant(at(times, "referencePeriodEnd"))
	validEnd, ok3 := instant(at(times, "validityPeriodEnd"))
	created, ok4 := instant(at(times, "created"))
	if !ok1 || !ok2 || !ok3 || !ok4 {
		fail(assessment+"time/0", "want dates that exist, like 2026-01-31T00:00:00Z")
		return
	}
	validStart := created
	if t, ok := instant(at(times, "validityPeriodStart")); ok {
		validStart = t
	}
	switch {
	case !end.After(start):
		fail(assessment+"time/0/referencePeriodEnd", "is not after the start of the period")
	case end.After(start.AddDate(3, 0, 1)):
		fail(assessment+"time/0/referencePeriodEnd", "is more than three years after the start of the period")
	}
	if !validEnd.After(validStart) {
		fail(assessment+"time/0/validityPeriodEnd", "is not after the start of the validity")
	}
	kind, _ := at(info, "idAndVersion", "retroOrProspectivePcfType").(string)
	if kind == "Retrospective PCF" && validStart.Before(end) {
		warn(assessment+"time/0/validityPeriodStart", "lies before the end of the reference period of a retrospective footprint")
	}
}
