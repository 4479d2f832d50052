package sheet

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
)

// partURN stands before a manufacturer part id: the ids of a product are URIs.
const partURN = "urn:mpn:"

// namespace of the footprint ids: the same row, declared at the same time, is the same declaration; said again later it is a new one.
var namespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/sluice-connector/sluice/pcf"))

// group is what the aspect model makes of a group: an array of one.
type group = []map[string]any

// payload builds the aspect from the values of a row, in the order of columns.
func (in *reader) payload(values []string) ([]byte, error) {
	get := func(name string) string {
		i, _ := columnOf(name)
		return values[i]
	}
	stage := map[string]any{}
	set := func(to map[string]any, member, column string) {
		if v := get(column); v != "" {
			to[member] = json.Number(v)
		}
	}
	set(stage, "pcfIncludingBiogenicUptake", "pcf_including_uptake")
	set(stage, "pcfExcludingBiogenicUptake", "pcf_excluding_uptake")
	set(stage, "fossilGhgEmissions", "fossil")
	set(stage, "biogenicNonCO2Emissions", "biogenic_non_co2")
	set(stage, "biogenicCO2Uptake", "biogenic_uptake")
	set(stage, "landUseChangeGhgEmissions", "land_use_change")
	set(stage, "landManagementBiogenicCO2Emissions", "land_management")
	set(stage, "landManagementBiogenicCO2Removals", "land_removals")
	set(stage, "aircraftGhgEmissions", "aircraft")
	quality := map[string]any{}
	set(quality, "primaryDataShare", "primary_data_share")
	geography := map[string]any{"geographyRegionOrSubregion": get("region")}
	if c := get("country"); c != "" {
		geography["geographyCountry"] = c
	}
	created := in.o.Now.UTC().Format(time.RFC3339)
	id := uuid.NewSHA1(namespace, []byte(strings.Join(append(values[:len(values):len(values)], created), "\x00")))
	doc := map[string]any{
		"scopeOfPcfForm": group{{"specVersion": "urn:io.catenax.pcf:datamodel:version:9.0.0", "partialFullPcf": "Cradle-to-gate"}},
		"companyAndProductInformation": group{{
			"companyInformation": group{{"companyName": get("company"), "companyIds": []string{"urn:bpn:id:" + get("bpn")}}},
			"productInformation": group{{"productNameCompany": get("part_name"), "productIds": []string{partURN + url.PathEscape(get("part_id"))},
				"declaredUnitOfMeasurement": get("unit"), "declaredUnitAmount": json.Number(get("amount")), "productMassPerDeclaredUnit": json.Number(get("mass_kg"))}},
		}},
		"pcfAssessmentAndMethodology": group{{
			"dataSourcesAndQuality": group{quality},
			"pcfAssessmentInformation": group{{
				"idAndVersion": group{{"id": id.String(), "version": 0, "status": "Active",
					"retroOrProspectivePcfType": "Retrospective PCF"}},
				"boundarySpecifications": group{{"exemptedEmissionsPercent": json.Number(get("exempted_percent"))}},
				"technology":             group{{"ccsTechnologicalCO2CaptureIncluded": false}},
				"geography":              group{geography},
				"time": group{{"referencePeriodStart": get("period_start"), "referencePeriodEnd": get("period_end"),
					"created": created, "validityPeriodEnd": get("valid_until")}},
			}},
			"pcfMethodology": group{{
				"massBalancingInformation":         group{{"massBalancingUsed": false, "freeAttributionInMassBalancing": "not applicable", "massBalancingCertificateScheme": "none"}},
				"standards":                        group{{"crossSectoralStandards": []string{"ISO 14067"}, "productOrSectorSpecificRules": []string{get("rules")}}},
				"gwpCharacterizationFactorDetails": group{{"ipccCharacterizationFactors": "AR6"}},
				"allocationInForeground":           group{{"allocationWasteIncineration": "cut-off"}},
			}},
		}},
		"general":       group{{}},
		"carbonContent": group{{}},
		"productLifeCycleStagesAndEmissions": group{{"productionStage": group{stage}, "distributionStage": group{{"distributionStageIncluded": false}},
			"packagingStage": group{{"packagingEmissionsIncluded": true}}}},
	}
	return encode(doc)
}

// AssetID is the id of the asset that a part's footprint is published as: part and model.
func AssetID(partID string) string { return "urn:sluice:pcf:9.0.0:" + url.QueryEscape(partID) }
