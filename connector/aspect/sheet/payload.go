package sheet

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/xuri/excelize/v2"
)

// namespace of the footprint ids: the same row of the same company is the same declaration.
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
	identity := ""
	for _, v := range values {
		identity += v + "\x00"
	}
	doc := map[string]any{
		"scopeOfPcfForm": group{{"specVersion": "urn:io.catenax.pcf:datamodel:version:9.0.0", "partialFullPcf": "Cradle-to-gate"}},
		"companyAndProductInformation": group{{
			"companyInformation": group{{"companyName": get("company"), "companyIds": []string{"urn:bpn:id:" + get("bpn")}}},
			"productInformation": group{{"productNameCompany": get("part_name"), "productIds": []string{"urn:mpn:" + url.PathEscape(get("part_id"))},
				"declaredUnitOfMeasurement": get("unit"), "declaredUnitAmount": json.Number(get("amount")), "productMassPerDeclaredUnit": json.Number(get("mass_kg"))}},
		}},
		"pcfAssessmentAndMethodology": group{{
			"dataSourcesAndQuality": group{quality},
			"pcfAssessmentInformation": group{{
				"idAndVersion": group{{"id": uuid.NewSHA1(namespace, []byte(identity)).String(), "version": 0, "status": "Active",
					"retroOrProspectivePcfType": "Retrospective PCF"}},
				"boundarySpecifications": group{{"exemptedEmissionsPercent": json.Number(get("exempted_percent"))}},
				"technology":             group{{"ccsTechnologicalCO2CaptureIncluded": false}},
				"geography":              group{geography},
				"time": group{{"referencePeriodStart": get("period_start"), "referencePeriodEnd": get("period_end"),
					"created": in.o.Now.UTC().Format(time.RFC3339), "validityPeriodEnd": get("valid_until")}},
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
	return json.Marshal(doc)
}

// Template writes an empty sheet with the header, a line of hints and an example, as "csv" or "xlsx".
func Template(w io.Writer, format string) error {
	var header, hints, example []string
	for _, c := range columns {
		hint := c.hint
		if c.required {
			hint += " (required)"
		}
		header, hints, example = append(header, c.name), append(hints, hint), append(example, c.example)
	}
	hints[0] = "# " + hints[0]
	switch format {
	case "csv":
		out := csv.NewWriter(w)
		if err := out.WriteAll([][]string{header, hints, example}); err != nil {
			return err
		}
		return out.Error()
	case "xlsx":
		return workbook(w, header, hints, example)
	}
	return fmt.Errorf("format %q is not known; want csv or xlsx", format)
}

func workbook(w io.Writer, lines ...[]string) error {
	f := excelize.NewFile()
	defer f.Close()
	const sheet = "Sheet1"
	for y, line := range lines {
		for x, text := range line {
			cell, err := excelize.CoordinatesToCellName(x+1, y+1)
			if err != nil {
				return err
			}
			if err := f.SetCellStr(sheet, cell, text); err != nil {
				return err
			}
		}
	}
	if err := f.SetColWidth(sheet, "A", letter(len(columns)-1), 18); err != nil {
		return err
	}
	if err := f.SetPanes(sheet, &excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return err
	}
	return f.Write(w)
}

// AssetID is the id of the asset that a part's footprint is published as: part and model.
func AssetID(partID string) string { return "urn:sluice:pcf:9.0.0:" + url.QueryEscape(partID) }
