package jsonld

import "strings"

// Context is the one context of the plain form.
const Context = "https://w3id.org/dspace/2025/1/context.jsonld"

// namespaces are the prefixes that nobody may give another meaning, each with what it may stand for. Two addresses under one prefix are
// releases of the same words.
var namespaces = map[string][]string{
	"dspace":    {"https://w3id.org/dspace/2025/1/", "https://w3id.org/dspace/2024/1/", "https://w3id.org/dspace/v0.8/"},
	"dcat":      {"http://www.w3.org/ns/dcat#"},
	"dct":       {"http://purl.org/dc/terms/"},
	"odrl":      {"http://www.w3.org/ns/odrl/2/"},
	"xsd":       {"http://www.w3.org/2001/XMLSchema#"},
	"edc":       {"https://w3id.org/edc/v0.0.1/ns/"},
	"cx-policy": {"https://w3id.org/catenax/2025/9/policy/"},
	"http":      nil, "https": nil, "urn": nil, "did": nil, // a scheme is no prefix
}

// context is what a known address defines: prefixes, and namespaces whose terms may stand without one.
type context struct {
	prefixes map[string]string
	bare     []string
}

func older(dspace string) context {
	return context{prefixes: map[string]string{"dspace": dspace, "dcat": namespaces["dcat"][0], "dct": namespaces["dct"][0],
		"odrl": namespaces["odrl"][0], "xsd": namespaces["xsd"][0]}}
}

// contexts is the closed set. The README says where each comes from.
var contexts = map[string]context{
	Context: {prefixes: older(namespaces["dspace"][0]).prefixes, bare: []string{"dspace", "dcat", "dct", "odrl"}},
	"https://w3id.org/dspace/2025/1/odrl-profile.jsonld":    {prefixes: map[string]string{"odrl": namespaces["odrl"][0]}, bare: []string{"odrl"}},
	"https://w3id.org/dspace/2024/1/context.json":           older(namespaces["dspace"][1]),
	"https://w3id.org/dspace/v0.8/context.json":             older(namespaces["dspace"][2]),
	"https://w3id.org/catenax/2025/9/policy/context.jsonld": {prefixes: map[string]string{"cx-policy": namespaces["cx-policy"][0]}},
	"https://w3id.org/catenax/2025/9/policy/odrl.jsonld":    {prefixes: map[string]string{"odrl": namespaces["odrl"][0]}, bare: []string{"odrl"}},
	"https://w3id.org/edc/dspace/v0.0.1":                    {prefixes: map[string]string{"edc": namespaces["edc"][0]}},
}

// kind says how a term's value looks in the plain form.
type kind int

const (
	other   kind = iota // as it is: whoever reads it decides
	text                // a string
	state               // a string of the protocol's own words
	name                // a string that is a term itself
	node                // an object
	nodes               // a list of objects
	values              // a list of anything
	operand             // what a policy compares with: a string or a list, which differ
)

// terms are the words of the plain form by namespace, members and types.
var terms = map[string]map[string]kind{
	"dspace": table(text, "consumerPid providerPid callbackAddress agreementId code participantId timestamp endpointType endpoint name value version path binding serviceId identifierType",
		state, "eventType state", node, "offer agreement dataAddress", nodes, "endpointProperties protocolVersions", values, "reason filter",
		other, `ContractRequestMessage ContractOfferMessage ContractAgreementMessage ContractAgreementVerificationMessage ContractNegotiationEventMessage
		ContractNegotiationTerminationMessage ContractNegotiation ContractNegotiationError TransferRequestMessage TransferStartMessage TransferCompletionMessage
		TransferSuspensionMessage TransferTerminationMessage TransferProcess TransferError CatalogRequestMessage DatasetRequestMessage CatalogError
		VersionsError DataAddress EndpointProperty`),
	"dcat": table(text, "endpointURL", nodes, "dataset service catalog distribution servesDataset", other, "accessService Catalog Dataset Distribution DataService"),
	"dct":  table(text, "format"),
	"odrl": table(text, "target assigner assignee uid profile", name, "action leftOperand operator", operand, "rightOperand",
		nodes, "hasPolicy permission prohibition obligation constraint and or xone andSequence",
		other, "Offer Agreement Permission Prohibition Duty Rule Constraint AtomicConstraint LogicalConstraint use "+
			"eq gt gteq lt lteq neq hasPart isA isAllOf isAnyOf isNoneOf isPartOf term-lteq"),
}

// spellings are older names of words, by their whole IRI.
var spellings = map[string]string{
	"http://www.w3.org/ns/dcat#endpointUrl":       "http://www.w3.org/ns/dcat#endpointURL",
	"http://www.w3.org/ns/odrl/2/Set":             "http://www.w3.org/ns/odrl/2/Offer", // in a message its place says that it is one
	"https://w3id.org/edc/v0.0.1/ns/DataAddress":  "https://w3id.org/dspace/2025/1/DataAddress",
	"https://w3id.org/edc/v0.0.1/ns/endpoint":     "https://w3id.org/dspace/2025/1/endpoint",
	"https://w3id.org/edc/v0.0.1/ns/endpointType": "https://w3id.org/dspace/2025/1/endpointType",
}

func table(rows ...any) map[string]kind {
	out := map[string]kind{}
	for i := 0; i < len(rows); i += 2 {
		for _, word := range strings.Fields(rows[i+1].(string)) {
			out[word] = rows[i].(kind)
		}
	}
	return out
}
