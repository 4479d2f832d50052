package aspect

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// Places of the aspect that faults point to.
const (
	production  = "/productLifeCycleStagesAndEmissions/0/productionStage/0/"
	quality     = "/pcfAssessmentAndMethodology/0/dataSourcesAndQuality/0/"
	assessment  = "/pcfAssessmentAndMethodology/0/pcfAssessmentInformation/0/"
	shares      = "/pcfAssessmentAndMethodology/0/verificationAndCertificationShares/0"
	methodology = "/pcfAssessmentAndMethodology/0/pcfMethodology/0/"
	company     = "/companyAndProductInformation/0/companyInformation/0/"
	product     = "/companyAndProductInformation/0/productInformation/0/"
	carbon      = "/carbonContent/0/"
)

// footprint gathers what the plausibility rules find in one footprint that conforms to its schema.
type footprint struct {
	root   any
	faults []Fault
}

// pcfRules are the plausibility rules that a payload alone can break (CX-0136, PCF Rulebook 4, the texts of the model). What needs a
// clock, the sender's number or an earlier footprint is for whoever has them.
var pcfRules = []func(*footprint){
	(*footprint).sums, (*footprint).exempted, (*footprint).period, (*footprint).validity, (*footprint).prospective, (*footprint).mass,
	(*footprint).balancing, (*footprint).carbon, (*footprint).factors, (*footprint).companyNumber, (*footprint).predecessors,
	(*footprint).shares,
}

func checkPCF(v any) []Fault {
	p := &footprint{root: v}
	for _, rule := range pcfRules {
		rule(p)
	}
	return p.faults
}

func (p *footprint) add(warn bool, path string, value any, problem, want string) {
	p.faults = append(p.faults, Fault{Path: path, Value: shown(value), Problem: problem, Want: want, Warn: warn})
}

func (p *footprint) fail(path string, value any, problem, want string) {
	p.add(false, path, value, problem, want)
}

func (p *footprint) warn(path string, value any, problem, want string) {
	p.add(true, path, value, problem, want)
}

func (p *footprint) info(path ...string) any {
	return at(at(p.root, "pcfAssessmentAndMethodology", "pcfAssessmentInformation"), path...)
}

// sums: the totals are the sums of their parts when all parts are given, and uptake only takes away.
func (p *footprint) sums() {
	stage := at(p.root, "productLifeCycleStagesAndEmissions", "productionStage")
	with, ok1 := at(stage, "pcfIncludingBiogenicUptake").(json.Number)
	without, ok2 := at(stage, "pcfExcludingBiogenicUptake").(json.Number)
	if !ok1 || !ok2 {
		return
	}
	if number(with).Cmp(number(without)) > 0 {
		p.fail(production+"pcfIncludingBiogenicUptake", with, "the footprint with uptake is larger than the one without", "at most "+without.String()+": uptake only takes away")
	}
	sum := new(big.Rat)
	for _, name := range []string{"fossilGhgEmissions", "biogenicNonCO2Emissions", "landUseChangeGhgEmissions", "landManagementBiogenicCO2Emissions",
		"landManagementBiogenicCO2Removals", "aircraftGhgEmissions"} {
		part := number(at(stage, name))
		if part == nil {
			return
		}
		sum.Add(sum, part)
	}
	const problem = "the footprint is not the sum of its parts"
	if !agrees(without, sum) {
		p.fail(production+"pcfExcludingBiogenicUptake", without, problem, plain(sum))
	}
	uptake := number(at(stage, "biogenicCO2Uptake"))
	if uptake == nil {
		return
	}
	if sum.Add(sum, uptake); !agrees(with, sum) {
		p.fail(production+"pcfIncludingBiogenicUptake", with, problem, plain(sum))
	}
}

// exempted: at least 97 percent of the emissions are covered.
func (p *footprint) exempted() {
	v := p.info("boundarySpecifications", "exemptedEmissionsPercent")
	if n := number(v); n != nil && n.Cmp(big.NewRat(3, 1)) >= 0 {
		p.fail(assessment+"boundarySpecifications/0/exemptedEmissionsPercent", v, "too much of the emissions is left out", "less than 3 percent")
	}
}

// period: the reference period has an end after its start and lasts at most three years.
func (p *footprint) period() {
	times := p.info("time")
	if times == nil {
		return
	}
	for _, name := range []string{"referencePeriodStart", "referencePeriodEnd", "created", "validityPeriodStart", "validityPeriodEnd"} {
		if v := at(times, name); v != nil {
			if _, ok := instant(v); !ok {
				p.fail(assessment+"time/0/"+name, v, "there is no such day or time", "a time such as 2025-12-31T00:00:00Z")
			}
		}
	}
	start, ok1 := instant(at(times, "referencePeriodStart"))
	end, ok2 := instant(at(times, "referencePeriodEnd"))
	const place = assessment + "time/0/referencePeriodEnd"
	switch {
	case !ok1 || !ok2:
	case !end.After(start):
		p.fail(place, at(times, "referencePeriodEnd"), "the period ends before it starts", "an end after "+start.Format("2006-01-02"))
	case end.After(start.AddDate(3, 0, 1)):
		p.fail(place, at(times, "referencePeriodEnd"), "the period is longer than three years", "an end by "+start.AddDate(3, 0, 0).Format("2006-01-02"))
	}
}

// validity: it ends after it starts. That it starts after the period of a retrospective footprint, and ends within three years of it, is
// wanted by one text and not by another: a warning.
func (p *footprint) validity() {
	times := p.info("time")
	until, ok1 := instant(at(times, "validityPeriodEnd"))
	from, ok2 := instant(at(times, "created"))
	if t, ok := instant(at(times, "validityPeriodStart")); ok {
		from, ok2 = t, true
	}
	if !ok1 || !ok2 {
		return
	}
	const place = assessment + "time/0/"
	if !until.After(from) {
		p.fail(place+"validityPeriodEnd", at(times, "validityPeriodEnd"), "the validity ends before it starts", "an end after "+from.Format("2006-01-02"))
	}
	end, ok := instant(at(times, "referencePeriodEnd"))
	if !ok {
		return
	}
	if p.info("idAndVersion", "retroOrProspectivePcfType") == retrospective && from.Before(end) {
		p.warn(place+"validityPeriodStart", at(times, "validityPeriodStart"), "a retrospective footprint becomes valid before its reference period has ended",
			"a start from "+end.Format("2006-01-02"))
	}
	if until.After(end.AddDate(3, 0, 1)) {
		p.warn(place+"validityPeriodEnd", at(times, "validityPeriodEnd"), "the validity ends more than three years after the reference period",
			"an end by "+end.AddDate(3, 0, 0).Format("2006-01-02"))
	}
}

const retrospective = "Retrospective PCF"

// prospective: what has not been made yet has no primary data.
func (p *footprint) prospective() {
	if kind, ok := p.info("idAndVersion", "retroOrProspectivePcfType").(string); !ok || kind == retrospective {
		return
	}
	data := at(p.root, "pcfAssessmentAndMethodology", "dataSourcesAndQuality")
	if v := at(data, "primaryDataShare"); v != nil && number(v).Sign() != 0 {
		p.fail(quality+"primaryDataShare", v, "a footprint of the future has no primary data", "0 or nothing")
	}
	for _, name := range []string{"technologicalDQR", "temporalDQR", "geographicalDQR"} {
		if v := at(data, name); v != nil {
			p.fail(quality+name, v, "a footprint of the future has no rating of its data", "nothing")
		}
	}
}

// mass: a piece has one, and a kilogram weighs a kilogram.
func (p *footprint) mass() {
	info := at(p.root, "companyAndProductInformation", "productInformation")
	mass, amount := number(at(info, "productMassPerDeclaredUnit")), number(at(info, "declaredUnitAmount"))
	if mass == nil || amount == nil {
		return
	}
	const place = product + "productMassPerDeclaredUnit"
	switch unit := at(info, "declaredUnitOfMeasurement"); {
	case unit == "piece" && mass.Sign() == 0:
		p.fail(place, at(info, "productMassPerDeclaredUnit"), "a piece has a mass", "more than 0 kg")
	case unit == "kilogram" && mass.Cmp(amount) != 0:
		p.fail(place, at(info, "productMassPerDeclaredUnit"), "the mass is not the declared amount of kilograms", plain(amount))
	}
}

// balancing: without mass balancing there is nothing to attribute.
func (p *footprint) balancing() {
	info := at(p.root, "pcfAssessmentAndMethodology", "pcfMethodology", "massBalancingInformation")
	if v := at(info, "freeAttributionInMassBalancing"); at(info, "massBalancingUsed") == false && v != "not applicable" {
		p.fail(methodology+"massBalancingInformation/0/freeAttributionInMassBalancing", v, "no mass balancing is used", `"not applicable"`)
	}
}

// carbon: the whole is not less than its parts, and uptake fits the biogenic carbon that it became (44/12 by mass).
func (p *footprint) carbon() {
	group := at(p.root, "carbonContent")
	total, fossil, biogenic := number(at(group, "carbonContentTotal")), number(at(group, "fossilCarbonContent")), number(at(group, "biogenicCarbonContent"))
	if total != nil && fossil != nil && biogenic != nil {
		if sum := new(big.Rat).Add(fossil, biogenic); total.Cmp(sum) < 0 {
			p.fail(carbon+"carbonContentTotal", at(group, "carbonContentTotal"), "there is less carbon than fossil and biogenic carbon together", "at least "+plain(sum))
		}
	}
	v := at(p.root, "productLifeCycleStagesAndEmissions", "productionStage", "biogenicCO2Uptake")
	uptake := number(v)
	if uptake == nil || biogenic == nil {
		return
	}
	expected := new(big.Rat).Mul(biogenic, big.NewRat(-44, 12))
	off := new(big.Rat).Sub(uptake, expected)
	if off.Abs(off).Cmp(new(big.Rat).Mul(new(big.Rat).Abs(expected), big.NewRat(1, 20))) > 0 && !agrees(v.(json.Number), expected) {
		p.warn(production+"biogenicCO2Uptake", v, "the uptake does not fit the biogenic carbon content", "about "+cut(expected.FloatString(3), 80))
	}
}

// factors: the sixth assessment report is the current one.
func (p *footprint) factors() {
	v := at(p.root, "pcfAssessmentAndMethodology", "pcfMethodology", "gwpCharacterizationFactorDetails", "ipccCharacterizationFactors")
	if v != nil && v != "AR6" {
		p.warn(methodology+"gwpCharacterizationFactorDetails/0/ipccCharacterizationFactors", v, "these are not the current factors", "AR6")
	}
}

var bpnURN = regexp.MustCompile(`^(?i:urn:bpn:(id:)?)BPNL[0-9A-Za-z]{12}$`)

// companyNumber: one of the company's ids is its business partner number.
func (p *footprint) companyNumber() {
	info, ok := at(p.root, "companyAndProductInformation", "companyInformation").(map[string]any)
	if !ok {
		return
	}
	ids, _ := info["companyIds"].([]any)
	for _, id := range ids {
		if s, ok := id.(string); ok && bpnURN.MatchString(s) {
			return
		}
	}
	p.fail(company+"companyIds", nil, "no id is a business partner number", "one such as urn:bpn:id:BPNL00000000COB1")
}

// predecessors: a footprint does not replace itself, nor another one twice.
func (p *footprint) predecessors() {
	id, ok := p.info("idAndVersion").(map[string]any)
	if !ok {
		return
	}
	seen := map[string]bool{uuidOf(id["id"]): true}
	list, _ := id["precedingPfIds"].([]any)
	for i, before := range list {
		object, _ := before.(map[string]any)
		name := uuidOf(object["id"])
		if name == "" {
			continue
		}
		if seen[name] {
			p.fail(fmt.Sprintf("%sidAndVersion/0/precedingPfIds/%d", assessment, i), object["id"], "the chain of footprints comes back to one it already has", "each footprint once")
		}
		seen[name] = true
	}
}

func uuidOf(v any) string {
	s, _ := v.(string)
	return strings.TrimPrefix(strings.ToLower(s), "urn:uuid:")
}

// shares: nothing is verified twice.
func (p *footprint) shares() {
	group := at(p.root, "pcfAssessmentAndMethodology", "verificationAndCertificationShares")
	sum := new(big.Rat)
	for _, name := range []string{"programCertificationShare", "productVerificationShare1stParty", "productVerificationShare2ndParty", "productVerificationShare3rdParty"} {
		if n := number(at(group, name)); n != nil {
			sum.Add(sum, n)
		}
	}
	if sum.Cmp(big.NewRat(100, 1)) > 0 {
		p.warn(shares, nil, "the shares sum to "+plain(sum)+" percent", "at most 100")
	}
}
