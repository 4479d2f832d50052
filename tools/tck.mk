# The public conformance kits, unmodified, through Maven.
TCK := $(CURDIR)/.cache/tck

.PHONY: tck-dsp
tck-dsp: $(TCK)/dsp ## the conformance kit of the Dataspace Protocol, on both stores
	TCK_LIB=$< $(PGTEST) -- $(GO) run ./e2e/tck/kit

.PHONY: tck-dcp
tck-dcp: $(TCK)/dcp ## the conformance kit of the Decentralized Claims Protocol, in every role, on both stores
	TCK_LIB=$< $(PGTEST) -- $(GO) run ./e2e/dcptck/kit

$(TCK)/dsp: e2e/tck/kit/pom.xml
$(TCK)/dcp: e2e/dcptck/kit/pom.xml
$(TCK)/%:
	@command -v mvn >/dev/null && command -v javac >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends maven default-jdk-headless; }
	rm -rf $@
	mvn -q -B -f $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$@
