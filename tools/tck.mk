# The public conformance kits, unmodified, through Maven.
TCK_LIB := $(CURDIR)/.cache/tck-dsp/lib

.PHONY: tck-dsp
tck-dsp: $(TCK_LIB) ## the conformance kit of the Dataspace Protocol, on both stores
	TCK_LIB=$(TCK_LIB) $(PGTEST) -- $(GO) run ./e2e/tck/kit

$(TCK_LIB): e2e/tck/kit/pom.xml
	@command -v mvn >/dev/null && command -v javac >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends maven default-jdk-headless; }
	rm -rf $@
	mvn -q -B -f $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$@
