# The targets have the names that Kubewarden's policies use. `make run` and `make test` install what is missing.

CARGO_FLAGS ?= --locked
MODULE := target/module/wasm32-wasip1/module/container_patch_policy.wasm
CONTAINER_PATCH := target/debug/container-patch
# How a module is built, what builds the policy, and what builds the host with the features that the dependencies have in the tests.
MODULE_FLAGS := --profile module --target wasm32-wasip1 --target-dir target/module
# Panic messages have the paths of sources. Without the folders of this machine, the same source gives the same bytes in other folders.
# host/build.rs has the same flags.
MODULE_ENV := RUSTFLAGS="--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo --remap-path-prefix=$(CURDIR)=/source"
BUILD_MODULE := $(MODULE_ENV) cargo build $(CARGO_FLAGS) --package container-patch-policy --lib $(MODULE_FLAGS)
BUILD_HOST := cargo build $(CARGO_FLAGS) --package container-patch --package test-dependencies
DO_NOTHING := target/module/wasm32-wasip1/module/do_nothing_policy.wasm
BENCH := target/release/container-patch-bench
# What builds the policy that does nothing, and the benchmark.
define BUILD_BENCH
$(MODULE_ENV) cargo build $(CARGO_FLAGS) --package do-nothing-policy $(MODULE_FLAGS)
cargo build $(CARGO_FLAGS) --package container-patch-bench --release
endef
# Kubewarden's command, if it is installed.
KWCTL ?= $(shell command -v kwctl)
SOURCES := Cargo.toml Cargo.lock build.rs $(shell find cron src -name '*.rs')

.PHONY: run
run: ## Judge the sample manifests in examples/, and print the verdicts
	@hack/setup run
	@echo "==> building the policy module and the host that runs it (the first time takes some minutes)"
	@# The host embeds the module, whose link-time optimisation takes longest on one core, so it begins first.
	@$(BUILD_MODULE) --quiet & $(BUILD_HOST); built=$$?; wait; exit $$built
	@hack/demo $(CONTAINER_PATCH)

.PHONY: test
test: ## Run all tests: unit, property, end to end
	@hack/setup test
	@echo "==> unit and property tests, and tests of the built module in a Wasm host"
	cargo test $(CARGO_FLAGS) --workspace
	@$(MAKE) --no-print-directory e2e-tests

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= all

.PHONY: fuzz
fuzz: ## Look for inputs that break the policy, a minute per target (FUZZ_SECONDS=600 FUZZ_TARGETS="validate settings")
	@hack/setup fuzz
	@hack/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

.PHONY: e2e-tests
e2e-tests: policy.wasm ## Run the end-to-end tests, with kwctl if it is installed (or KWCTL=…), otherwise with container-patch
	@hack/setup test
	$(BUILD_HOST)
	@if [ -n "$(KWCTL)" ]; then \
	  $(MAKE) --no-print-directory annotated-policy.wasm && echo "==> end-to-end tests, with $(KWCTL)"; \
	else \
	  echo "==> end-to-end tests, with container-patch run (kwctl is not installed)"; \
	fi
	KWCTL="$(KWCTL)" bats e2e-tests
	@e2e-tests/swarm/run --why

.PHONY: e2e-image
e2e-image: ## Build the image of container-patch with a Docker Engine, and test it
	@hack/setup image
	$(BUILD_HOST)
	@e2e-tests/image/run

.PHONY: e2e-swarm
e2e-swarm: ## Test the Swarm plugin with a Docker Engine in namespaces of its own, as root (TESTS=FILE runs one file)
	@hack/setup swarm
	$(BUILD_HOST)
	@e2e-tests/swarm/run

.PHONY: e2e-cluster
e2e-cluster: ## Test both policies in a real control plane, or in the cluster of CLUSTER_KUBECONFIG=… (see e2e-tests/cluster/run)
	@e2e-tests/cluster/run

.PHONY: e2e-browser
e2e-browser: ## Test the HTML pages in a headless Chromium (SCREENSHOTS=FOLDER keeps the screenshots)
	@hack/setup browser
	$(BUILD_HOST)
	bats e2e-tests/browser

.PHONY: e2e-monitoring
e2e-monitoring: ## Test the Grafana dashboard, with its queries in a real Prometheus
	@hack/setup monitoring
	$(BUILD_HOST)
	E2E_MONITORING=required bats e2e-tests/monitoring.bats

.PHONY: dashboard
dashboard: ## Write the Grafana dashboard from its generator, monitoring/dashboard.py
	@hack/setup monitoring
	target/monitoring/grafana-11/bin/python monitoring/dashboard.py > target/monitoring/grafana-dashboard.json
	@mv target/monitoring/grafana-dashboard.json monitoring/grafana-dashboard.json

IMAGE ?= container-patch

# This base has glibc, and a shell for GitLab CI.
IMAGE_BASE ?= gcr.io/distroless/cc-debian12:debug-nonroot

.PHONY: image
image: ## Build the image of container-patch for pipelines (IMAGE=registry.example.com/tools/container-patch:0.1.0)
	@hack/setup build
	cargo build $(CARGO_FLAGS) --release --package container-patch
	@# Only the binary is sent to the engine.
	tar -C target/release -c container-patch -C "$(CURDIR)" Dockerfile | docker build --build-arg "BASE=$(IMAGE_BASE)" --tag "$(IMAGE)" -

# The rules are indented below the head of the object.
monitoring/prometheus-rule.yaml: monitoring/prometheus-rule-head.yaml monitoring/prometheus-rules.yaml
	@{ cat monitoring/prometheus-rule-head.yaml; sed -n '/^groups:/,$$p' monitoring/prometheus-rules.yaml | sed 's/^./  &/'; } > $@

.PHONY: prometheus-rule
prometheus-rule: ## Write the Prometheus rules as a PrometheusRule object, into monitoring/prometheus-rule.yaml
	@$(MAKE) --no-print-directory --always-make monitoring/prometheus-rule.yaml

policy.wasm: $(SOURCES) ## Build the module
	@hack/setup build
	$(BUILD_MODULE)
	cp $(MODULE) policy.wasm

annotated-policy.wasm: policy.wasm metadata.yml README.md ## Add the metadata to the module, for Kubewarden (needs kwctl)
	$(if $(KWCTL),,$(error `make annotated-policy.wasm` needs kwctl: https://docs.kubewarden.io/howtos/install-kwctl))
	$(KWCTL) annotate --metadata-path metadata.yml --usage-path README.md --output-path annotated-policy.wasm policy.wasm

artifacthub-pkg.yml: metadata.yml questions-ui.yml hack/artifacthub-install.md deploy/pin.yaml deploy/enforce.yaml ## Describe the policy for Artifact Hub (needs kwctl)
	$(if $(KWCTL),,$(error `make artifacthub-pkg.yml` needs kwctl: https://docs.kubewarden.io/howtos/install-kwctl))
	$(KWCTL) scaffold artifacthub --metadata-path metadata.yml --questions-path questions-ui.yml --output artifacthub-pkg.yml
	@hack/artifacthub-install artifacthub-pkg.yml

# Releases. docs/release.md describes them.

RELEASE_TOOL_FLAGS := $(CARGO_FLAGS) --manifest-path release/Cargo.toml --target-dir target/release-tool

.PHONY: release-dry-run
release-dry-run: ## Make a release without publishing it: build, push to a registry on loopback, sign with a new key, pull, verify, run
	hack/release dry-run

.PHONY: sbom
sbom: policy.wasm ## List the crates in the module as SPDX, in policy-sbom.spdx.json
	cargo run --quiet $(RELEASE_TOOL_FLAGS) -- sbom --tag "v$$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$$/\1/p' Cargo.toml)" \
	  --created "$$(git log -1 --format=%ct)" --output policy-sbom.spdx.json policy.wasm

.PHONY: bench
bench: policy.wasm ## Measure the policy against one that does nothing (BENCH_FLAGS="--output json"; see docs/performance.md)
	@echo "==> building the policy that does nothing, and the benchmark (the first time takes some minutes)"
	$(BUILD_BENCH)
	@$(BENCH) --policy policy.wasm --against $(DO_NOTHING) $(BENCH_FLAGS)

.PHONY: bench-policy-server
bench-policy-server: annotated-policy.wasm ## Measure the throughput of policy-server (needs kwctl, policy-server, wrk; OTHERS="NAME=FILE.wasm,SETTINGS.json")
	$(BUILD_BENCH)
	benches/policy-server $(BENCH) annotated-policy.wasm $(DO_NOTHING) $(OTHERS)

.PHONY: bench-check
bench-check: ## Measure `container-patch check` of 1,000 images at a registry on loopback (BENCH_FLAGS="--registry-concurrency 4")
	@hack/setup run
	@echo "==> building container-patch (the first time takes some minutes)"
	cargo build $(CARGO_FLAGS) --package container-patch --release
	@benches/check target/release/container-patch $(BENCH_FLAGS)

.PHONY: bench-swarm
bench-swarm: ## Measure the decisions of `container-patch swarm-authz`, also through a Docker Engine if one can be started
	@hack/setup run
	@echo "==> building container-patch and the benchmark (the first time takes some minutes)"
	cargo build $(CARGO_FLAGS) --package container-patch --package container-patch-bench --release
	@benches/swarm target/release/container-patch target/release/container-patch-bench-swarm

.PHONY: bench-history
bench-history: ## Measure `container-patch history` on an audit log of 1 GB against jq and wc (BENCH_BYTES=100000000 for a smaller one)
	@hack/setup run
	@echo "==> building container-patch (the first time takes some minutes)"
	cargo build $(CARGO_FLAGS) --package container-patch --release
	@benches/history target/release/container-patch

.PHONY: docs
docs: ## Update generated files: schema and reference of the settings, index of the findings, overview in the README
	@hack/setup build
	RENEW_DOCS=1 cargo test $(CARGO_FLAGS) --quiet --package container-patch --test settings

SITE_TOOL_FLAGS := $(CARGO_FLAGS) --manifest-path site/Cargo.toml --target-dir target/site-tool

.PHONY: site
site: ## Build the documentation as a site, into target/site, and check its links
	@hack/setup build
	cargo test $(SITE_TOOL_FLAGS) --quiet
	cargo run $(SITE_TOOL_FLAGS) --quiet

.PHONY: pictures
pictures: ## Make the pictures of pages in docs/ with a headless Chromium, from the recorded examples
	@hack/setup browser
	$(BUILD_HOST)
	@hack/pictures $(CONTAINER_PATCH) docs

.PHONY: fmt
fmt: ## Check the formatting of the source
	cargo fmt --all -- --check
	cargo fmt --manifest-path fuzz/Cargo.toml -- --check
	cargo fmt --manifest-path release/Cargo.toml -- --check
	cargo fmt --manifest-path site/Cargo.toml -- --check

.PHONY: lint
lint: ## Check the source with clippy, with warnings as errors
	@hack/setup build
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	@# Clippy does not need libFuzzer, so it is not compiled.
	CUSTOM_LIBFUZZER_PATH=./libfuzzer.a cargo clippy $(CARGO_FLAGS) --manifest-path fuzz/Cargo.toml -- -D warnings
	cargo clippy $(RELEASE_TOOL_FLAGS) --all-targets -- -D warnings
	cargo clippy $(SITE_TOOL_FLAGS) --all-targets -- -D warnings

.PHONY: lint-workflows
lint-workflows: ## Check the workflows with actionlint, zizmor and shellcheck, and the files of .github/ with their schemas
	@hack/setup workflows
	@hack/lint-workflows

.PHONY: clean
clean: ## Remove build output
	cargo clean
	cargo clean --manifest-path fuzz/Cargo.toml
	rm -f policy.wasm annotated-policy.wasm policy-sbom.spdx.json
	rm -rf dist

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-zA-Z0-9._-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 24
