"""Prints the Grafana dashboard. `make dashboard` writes it to grafana-dashboard.json."""

import json

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery, DashboardCursorSync, DashboardLinkType, DataSourceRef, DataTransformerConfig, DynamicConfigValue,
    Threshold, ThresholdsMode, VariableOption, VariableRefresh, VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

UID = "container-patch"
DOCS = "https://github.com/container-patch/container-patch-policy/blob/main/docs"
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")
RULES = "It needs the recording rules of `monitoring/prometheus-rules.yaml`."

# The schema of Grafana 11.0. Later versions migrate it.
SCHEMA_VERSION = 39

HOUR = 3600
DAY = 24 * HOUR


# ---- PromQL

# `$namespace` and `$repository` are `.*` for all, which also matches series without the label.
NAMESPACE = 'namespace=~"$namespace"'
REPOSITORY = 'repository=~"$repository"'
POLICY = 'policy_name=~"$policy", resource_namespace=~"$namespace"'
EVALUATIONS = "kubewarden_policy_evaluations_total"
REFUSED = f'{POLICY}, accepted="false", request_origin="validate"'

# Reports of several instances can have the same images.
IMAGE = "repository, tag, digest"
PODS = f"max by ({IMAGE}, namespace) (container_patch_image_pods{{{NAMESPACE}, {REPOSITORY}}})"


def of_images(metric: str) -> str:
    """A metric of the report, of the images in the selected namespaces."""
    return f"(max by ({IMAGE}) ({metric}{{{REPOSITORY}}}) and on ({IMAGE}) {PODS})"


def of_pods(metric: str) -> str:
    """A metric of the report, by image and namespace."""
    return f"{PODS} * 0 + on ({IMAGE}) group_left max by ({IMAGE}) ({metric}{{{REPOSITORY}}})"


DEADLINE = of_images("container_patch_image_deadline_timestamp_seconds")


def new(counter: str, by: str = "") -> str:
    """The events of each interval, counted by a counter of policy-server, as whole numbers.

    A rare event begins a series with the value 1, and it can be between two intervals. `increase` counts neither. So this is the
    difference to the interval before, or else the value: of a counter that begins, or that was reset. It is not the value if the whole
    target is new to Prometheus.
    """
    target = f"{EVALUATIONS} offset $__interval"
    return f"sum{by and f' by ({by}) '}({counter} - {counter} offset $__interval >= 0 or {counter} and on (job, instance) {target})"


def new_in_log(counter: str, by: str = "") -> str:
    """The events of each interval, counted by a counter of `history --follow`.

    As `new`, but `history` reads its logs again when it starts again. So a lower value is not a reset, but a log that is gone.
    """
    target = "container_patch_history_last_event_timestamp_seconds offset $__interval"
    return f"sum{by and f' by ({by}) '}(clamp_min({counter} - {counter} offset $__interval, 0) or {counter} and on (job, instance) {target})"


def history(metric: str, selector: str = NAMESPACE) -> str:
    return f"container_patch_history_{metric}{{{selector}}}"


WORKLOAD = "namespace, workload_kind, workload"
CHANGED = f"namespace_workload:container_patch_changed6h:info{{{NAMESPACE}}}"
RESTARTS = "namespace_workload:container_patch_restarts:increase30m"
RESTARTS_BEFORE = "namespace_workload:container_patch_restarts_before:max6h"
WAITING = "namespace_workload:container_patch_pods_waiting:count"
WAITING_BEFORE = "namespace_workload:container_patch_pods_waiting_before:avg6h"
NOT_READY = "namespace_workload:container_patch_pods_not_ready:count"
NOT_READY_BEFORE = "namespace_workload:container_patch_pods_not_ready_before:avg6h"


def changed(metric: str) -> str:
    """A metric of the workloads whose images changed in the last 6 hours.

    The aggregation removes the name of the metric, by which Grafana would keep the rows of a table apart.
    """
    return f"max by ({WORKLOAD}) ({metric} and on ({WORKLOAD}) {CHANGED})"


# ---- Parts of panels

def query(expr: str, legend: str = "", ref: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(ref).expr(expr).legend_format(legend or "__auto").range().datasource(PROMETHEUS)


def instant(expr: str, ref: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(ref).expr(expr).format(PromQueryFormat.TABLE).instant().datasource(PROMETHEUS)


def thresholds(base: str, *steps: tuple[float, str]) -> dashboard.ThresholdsConfig:
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(
        [Threshold(color=base), *(Threshold(value=float(value), color=color) for value, color in steps)])


def docs(title: str, page: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(f"{DOCS}/{page}").target_blank(True).icon("doc")


def here(variable: str, value: str) -> str:
    """The address of this dashboard with another value of a variable."""
    kept = [name for name in ("datasource", "policy", "namespace", "repository") if name != variable]
    return f"/d/{UID}?${{__url_time_range}}&var-{variable}={value}&" + "&".join(f"${{{name}:queryparam}}" for name in kept)


def drill_down(variable: str, label: str) -> dashboard.DashboardLink:
    """A link of a series to this dashboard, for the value of a label."""
    return dashboard.DashboardLink(f"Show this {variable} only").type(DashboardLinkType.LINK) \
        .url(here(variable, f"${{__field.labels.{label}:percentencode}}"))


def column(title: str, **properties: object) -> list[DynamicConfigValue]:
    return [DynamicConfigValue(id_val="displayName", value=title),
            *(DynamicConfigValue(id_val=name.replace("_", "."), value=value) for name, value in properties.items())]


def link(title: str, url: str) -> list[dict[str, object]]:
    return [{"title": title, "url": url}]


NAMESPACE_COLUMN = column("Namespace", links=link("Show this namespace only", here("namespace", "${__value.raw:percentencode}")))
REPOSITORY_COLUMN = column("Image", links=link("Show this image only", here("repository", "${__value.raw:percentencode}")))


def colored(base: str, *steps: tuple[float, str]) -> dict[str, object]:
    """The properties of a column whose text has the colours of thresholds."""
    return {"custom_cellOptions": {"type": "color-text"},
            "thresholds": json.loads(json.dumps(thresholds(base, *steps).build(), cls=JSONEncoder))}


def number(title: str, description: str, expr: str, unit: str, colors: dashboard.ThresholdsConfig, page: str) -> stat.Panel:
    """A figure, as of the end of the time range."""
    return (stat.Panel().title(title).description(description).height(4).span(3).datasource(PROMETHEUS)
            .with_target(query(expr)).unit(unit).thresholds(colors).links([docs("What to do", page)])
            .color_mode(common_models.BigValueColorMode.BACKGROUND).graph_mode(common_models.BigValueGraphMode.NONE)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])))


def total(panel: stat.Panel) -> stat.Panel:
    """Makes a figure the total of the time range."""
    return panel.reduce_options(common.ReduceDataOptions().calcs(["sum"])).max_data_points(2000).interval("5m").decimals(0)


def graph(title: str, description: str, *queries: prometheus.Dataquery, unit: str = "short", width: int = 8) -> timeseries.Panel:
    panel = (timeseries.Panel().title(title).description(description).height(7).span(width).datasource(PROMETHEUS).unit(unit).min(0)
             .line_width(1).fill_opacity(10)
             .legend(common.VizLegendOptions().show_legend(True).display_mode(common_models.LegendDisplayMode.LIST)
                     .placement(common_models.LegendPlacement.BOTTOM).calcs([]))
             .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING)))
    for each in queries:
        panel.with_target(each)
    return panel


def bars(panel: timeseries.Panel) -> timeseries.Panel:
    """Shows the events of each interval as stacked bars."""
    return (panel.draw_style(common_models.GraphDrawStyle.BARS).fill_opacity(80).line_width(0).interval("5m").decimals(0)
            .stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A")))


def listing(title: str, description: str, *queries: prometheus.Dataquery, sort: str, descending: bool = False,
            columns: dict[str, list[DynamicConfigValue]], hidden: tuple[str, ...] = ("Time",), width: int = 12) -> table.Panel:
    """A table with a row for each combination of labels, with the columns in this order."""
    panel = (table.Panel().title(title).description(description).height(8).span(width).datasource(PROMETHEUS)
             .cell_height(common_models.TableCellHeight.SM).filterable(True)
             .sort_by([common.TableSortByFieldState().display_name(sort).desc(descending)])
             .with_transformation(DataTransformerConfig(id_val="merge", options={}))
             .with_transformation(DataTransformerConfig(id_val="organize", options={
                 "excludeByName": {name: True for name in hidden},
                 "indexByName": {name: index for index, name in enumerate(columns)}, "renameByName": {}})))
    for each in queries:
        panel.with_target(each)
    for name, properties in columns.items():
        panel.override_by_name(name, properties)
    return panel


# ---- What was refused, and why

CLASSES = {
    460: ("invalid", "#8F8F8F"), 461: ("pinning", "#5794F2"), 462: ("schedule", "#F2495C"), 463: ("base image", "#FF9830"),
    464: ("scan", "#B877D9"), 465: ("rollout", "#FADE2A"), 466: ("unknown registry", "#A16A3A"),
    467: ("evidence unavailable", "#00B5D8"), 468: ("break-glass not permitted", "#C4162A"),
}


def refusals() -> list[object]:
    by_class = bars(graph(
        "Refusals by class",
        "Requests that the policies refused, by the class of the first finding. The line shows what policies in the mode `monitor` would "
        "refuse.",
        query(new(f'{EVALUATIONS}{{{REFUSED}, policy_mode="protect"}}', "error_code"), "{{error_code}}"),
        query(new(f'{EVALUATIONS}{{{REFUSED}, policy_mode="monitor"}}', "policy_mode"), "mode monitor", "B"),
    )).links([docs("Classes", "audit-trail.md"), docs("Findings", "findings.md")])
    for code, (name, color) in CLASSES.items():
        by_class.override_by_name(str(code), column(f"{name} ({code})", color={"mode": "fixed", "fixedColor": color}))
    by_class.override_by_name("mode monitor", column(
        "in the mode monitor", color={"mode": "fixed", "fixedColor": "text"}, custom_drawStyle="line", custom_lineWidth=1,
        custom_fillOpacity=0, custom_stacking={"mode": "none", "group": "B"}))
    return [
        by_class,
        bars(graph(
            "Refusals by namespace", "Requests that the policies refused, by the namespace of the object. A click shows one namespace.",
            query(new(f'{EVALUATIONS}{{{REFUSED}, policy_mode="protect"}}', "resource_namespace"), "{{resource_namespace}}"),
        )).data_links([drill_down("namespace", "resource_namespace")]).links([docs("Refusals", "monitoring.md")]),
        table.Panel().title("Top findings").description(
            "Findings of the time range that refuse an image, by code, from the audit log. A click opens the page of the code.")
        .height(7).span(8).datasource(PROMETHEUS).max_data_points(2000).interval("5m").cell_height(common_models.TableCellHeight.SM)
        .with_target(query(new_in_log(history("findings_total", f'{NAMESPACE}, effect="deny"'), "code") + " > 0", "{{code}}"))
        .with_transformation(DataTransformerConfig(id_val="reduce", options={"reducers": ["sum"], "mode": "seriesToRows"}))
        .with_transformation(DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": "Total", "desc": True}]}))
        .override_by_name("Field", column("Finding", links=[
            {"title": "What it means, and what to do", "url": f"{DOCS}/${{__value.raw}}.md", "targetBlank": True}]))
        .override_by_name("Total", column(
            "Findings", decimals=0, min=0, custom_cellOptions={"type": "gauge", "mode": "basic"},
            color={"mode": "continuous-YlRd"}))
        .links([docs("Findings", "findings.md")]),
    ]


# ---- What becomes stale this week

def deadlines() -> list[object]:
    state = "image_state:container_patch_image:info"
    images = f"({state}{{{REPOSITORY}}} and on ({IMAGE}) {PODS})"
    covered = f'({state}{{{REPOSITORY}, state=~"fresh|due"}} and on ({IMAGE}) {PODS})'
    scheduled = f'({state}{{{REPOSITORY}, state!="unscheduled"}} and on ({IMAGE}) {PODS})'
    return [
        listing(
            "Images by deadline", "The deadline of each image, with its namespaces and the number of pods that run it.",
            instant(of_pods("container_patch_image_deadline_timestamp_seconds") + " - time()", "A"),
            instant(f'({of_pods("container_patch_image_deadline_timestamp_seconds")}) * 1000', "B"),
            instant(f"time() - ({of_pods('container_patch_image_build_timestamp_seconds')})", "C"),
            instant(PODS, "D"),
            sort="Time left", width=14, columns={
                "repository": REPOSITORY_COLUMN,
                "tag": column("Tag", custom_width=90),
                "namespace": NAMESPACE_COLUMN,
                "Value #D": column("Pods", unit="short", custom_width=70),
                "Value #A": column("Time left", unit="dtdurations", decimals=1,
                                   **colored("red", (0, "orange"), (7 * DAY, "text"))),
                "Value #B": column("Deadline", unit="dateTimeAsIso", custom_width=170),
                "Value #C": column("Age", unit="dtdurations", decimals=0),
                "digest": column("Digest", custom_width=120),
            }).links([docs("Reports", "report.md"), docs("What to do", "stale-image.md")]),
        graph(
            "Images by state", f"`due` is within the warning window, `unknown` has no deadline, for example because its build date is unknown. {RULES}",
            query(f"count by (state) ({images})", "{{state}}"), width=5,
        ).height(8).stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A")).fill_opacity(60)
        .override_by_name("fresh", column("fresh", color={"mode": "fixed", "fixedColor": "green"}))
        .override_by_name("due", column("due", color={"mode": "fixed", "fixedColor": "orange"}))
        .override_by_name("overdue", column("overdue", color={"mode": "fixed", "fixedColor": "red"}))
        .override_by_name("unknown", column("unknown", color={"mode": "fixed", "fixedColor": "purple"})),
        graph(
            "Patch coverage", f"Share of the images that are inside their patch schedule, and share of the pods that run them. {RULES}",
            query(f"(count({covered}) or vector(0)) / count({scheduled})", "images"),
            query(f"(sum({PODS} and on ({IMAGE}) {covered}) or vector(0)) / (sum({PODS} and on ({IMAGE}) {scheduled}) > 0)", "pods", "B"),
            unit="percentunit", width=5,
        ).height(8).max(1).links([docs("Patch schedule", "compliance.md")]),
    ]


# ---- Are rollouts healthy after patching

def rollouts() -> list[object]:
    patched = history("time_to_patch_seconds_bucket", REPOSITORY)
    return [
        graph(
            "Restarts after a change of the image",
            "Restarts in 30 minutes of workloads whose image changed in the last 6 hours. The dashed line is the maximum of the 6 hours "
            f"before the change, added up over these workloads. {RULES}",
            query(changed(RESTARTS), "{{namespace}}/{{workload}}"),
            query(f"sum({changed(RESTARTS_BEFORE)})", "all of them before", "B"), width=6,
        ).data_links([drill_down("namespace", "namespace")]).links([docs("Health after patching", "monitoring.md")])
        .override_by_name("all of them before", column(
            "all of them before", color={"mode": "fixed", "fixedColor": "text"}, custom_lineStyle={"fill": "dash", "dash": [6, 6]},
            custom_fillOpacity=0)),
        graph(
            "Pods that wait or are not ready after a change",
            "Pods of workloads whose image changed in the last 6 hours, and their average of the 6 hours before the change. Waiting: CrashLoopBackOff, "
            f"ImagePullBackOff and the like. {RULES}",
            query(f"sum({changed(WAITING)})", "waiting"),
            query(f"sum({changed(NOT_READY)})", "not ready", "B"),
            query(f"sum({changed(WAITING_BEFORE)})", "waiting before", "C"),
            query(f"sum({changed(NOT_READY_BEFORE)})", "not ready before", "D"), width=6,
        ).links([docs("Health after patching", "monitoring.md")])
        .override_by_regexp(".* before", [
            DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [6, 6]}),
            DynamicConfigValue(id_val="custom.fillOpacity", value=0)]),
        listing(
            "Workloads whose image changed", f"Workloads whose image changed in the last 6 hours, with their restarts and pods now and before the change. {RULES}",
            instant(changed(RESTARTS), "A"), instant(changed(RESTARTS_BEFORE), "B"), instant(changed(WAITING), "C"),
            instant(changed(NOT_READY), "D"), instant(changed(NOT_READY_BEFORE), "E"),
            sort="Restarts", descending=True, width=6, hidden=("Time", "workload_kind"), columns={
                "namespace": NAMESPACE_COLUMN,
                "workload": column("Workload"),
                "Value #A": column("Restarts", decimals=0, **colored("text", (1, "orange"), (5, "red"))),
                "Value #B": column("Before", decimals=0),
                "Value #C": column("Waiting", decimals=0, **colored("text", (1, "red"))),
                "Value #D": column("Not ready", decimals=0, **colored("text", (1, "orange"))),
                "Value #E": column("Not ready before", decimals=0),
            }).height(7).links([docs("Health after patching", "monitoring.md")]),
        listing(
            "Time to patch", "From the first admission of a new build until the last pod of an older build is deleted, for the patches in "
            "the audit log. Unfinished: pods of an older build still run.",
            instant(f"sum by (repository) ({history('time_to_patch_seconds_count', REPOSITORY)})", "A"),
            instant(f"sum by (repository) ({history('time_to_patch_seconds_sum', REPOSITORY)})"
                    f" / sum by (repository) ({history('time_to_patch_seconds_count', REPOSITORY)})", "B"),
            instant(f"histogram_quantile(0.9, sum by (repository, le) ({patched}))", "C"),
            instant(f"time() - min by (repository) ({history('unfinished_patch_start_timestamp_seconds', REPOSITORY)})", "D"),
            sort="P90", descending=True, width=6, columns={
                "repository": REPOSITORY_COLUMN,
                "Value #A": column("Patches", decimals=0, custom_width=70),
                "Value #B": column("Mean", unit="s", decimals=1),
                "Value #C": column("P90", unit="s", decimals=1),
                "Value #D": column("Unfinished for", unit="s", decimals=1, **colored("text", (3 * DAY, "orange"), (14 * DAY, "red"))),
            }).height(7).links([docs("Time to patch", "audit-trail.md")]),
    ]


# ---- Who used break-glass

def leniency() -> list[object]:
    since = "> (time() - $__range_s)"
    return [
        listing(
            "Break-glass by user", "Users of break-glass in the time range. The column Uses counts all uses in the audit log.",
            instant(f"(max by (user, namespace) ({history('break_glass_last_use_timestamp_seconds')}) {since}) * 1000", "A"),
            instant(f"sum by (user, namespace) ({history('break_glass_total')}) and on (user, namespace)"
                    f" ({history('break_glass_last_use_timestamp_seconds')} {since})", "B"),
            sort="Last use", descending=True, width=9, columns={
                "user": column("User"),
                "namespace": NAMESPACE_COLUMN,
                "Value #B": column("Uses", decimals=0, custom_width=70),
                "Value #A": column("Last use", unit="dateTimeAsIso"),
            }).height(7).links([docs("Break-glass", "break-glass.md"), docs("Reasons: container-patch history", "audit-trail.md")]),
        listing(
            "Exceptions", "Findings that an exception covered, by namespace, in the whole audit log.",
            instant(f"sum by (namespace) ({history('exceptions_total')})", "A"),
            instant(f"max by (namespace) ({history('exceptions_last_use_timestamp_seconds')}) * 1000", "B"),
            sort="Last use", descending=True, width=6, columns={
                "namespace": NAMESPACE_COLUMN,
                "Value #A": column("Findings", decimals=0, custom_width=90),
                "Value #B": column("Last use", unit="dateTimeAsIso"),
            }).height(7).links([docs("Exceptions", "excepted.md")]),
        bars(graph(
            "Findings passed",
            "Refusals that a setting or break-glass turned into warnings: for unchanged images, for pods that a controller creates, and for images "
            "of such pods without a record.",
            query(new_in_log(history("findings_total", f'{NAMESPACE}, passed!=""'), "passed"), "{{passed}}"), width=9,
        )).links([docs("Audit trail", "audit-trail.md")]),
    ]


# ---- The policy itself

def policy_itself() -> list[object]:
    latency = f"sum by (le) (rate(kubewarden_policy_evaluation_latency_milliseconds_bucket{{{POLICY}}}[$__rate_interval]))"
    swarm = "container_patch_swarm_"
    return [
        graph(
            "Evaluations", "Requests per second that policy-server evaluated, without those of the audit scanner.",
            query(f'sum by (policy_name, policy_mode) (rate({EVALUATIONS}{{{POLICY}, request_origin="validate"}}[$__rate_interval]))',
                  "{{policy_name}} ({{policy_mode}})"), unit="reqps", width=6),
        graph(
            "Latency", "Time that policy-server needs for an evaluation, with the requests to registries. The webhook times out after 10 seconds.",
            query(f"histogram_quantile(0.5, {latency})", "p50"), query(f"histogram_quantile(0.99, {latency})", "p99", "B"),
            unit="ms", width=6,
        ).thresholds(thresholds("transparent", (10000, "red")))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.LINE)),
        bars(graph(
            "Errors", "Refusals because evidence is unavailable (467), evaluations that failed (500), and requests to policies that policy-server "
            "cannot run.",
            query(new(f'{EVALUATIONS}{{{POLICY}, error_code=~"467|5.."}}', "error_code"), "{{error_code}}"),
            query(new(f'{EVALUATIONS}{{{POLICY}, initialization_error!=""}}', "policy_name"), "{{policy_name}} cannot run", "B"), width=6,
        )).links([docs("Evidence", "evidence-unavailable.md")]),
        number("Report", "Age of the newest report.", "time() - max(container_patch_report_timestamp_seconds)", "s",
               thresholds("green", (13 * HOUR, "orange"), (2 * DAY, "red")), "monitoring.md").height(7),
        number("Audit log", "Time since the last event of each audit log: the longest of these times.",
               "time() - min(container_patch_history_last_event_timestamp_seconds)", "s",
               thresholds("green", (HOUR / 2, "orange"), (6 * HOUR, "red")), "monitoring.md").height(7),
        graph(
            "What could not be read", "Lines of the audit log that `history` skips, and what `report` could not list or judge.",
            query("sum by (reason) (container_patch_history_skipped_lines_total)", "lines: {{reason}}"),
            query("max(container_patch_report_failures)", "failures of the report", "B"), width=6,
        ).links([docs("Audit trail", "audit-trail.md"), docs("Report", "report.md")]),
        graph(
            "Swarm: decisions", "Decisions per second of the Swarm plugin.",
            query(f"sum by (verdict) (rate({swarm}decisions_total[$__rate_interval]))", "{{verdict}}"), unit="reqps", width=6,
        ).links([docs("Swarm", "swarm.md")]),
        graph(
            "Swarm: time for a decision", "With the requests to the engine and to registries.",
            query(f"histogram_quantile(0.5, sum by (le) (rate({swarm}decision_duration_seconds_bucket[$__rate_interval])))", "p50"),
            query(f"histogram_quantile(0.99, sum by (le) (rate({swarm}decision_duration_seconds_bucket[$__rate_interval])))", "p99", "B"),
            unit="s", width=6,
        ).links([docs("Swarm", "swarm.md")]),
        graph(
            "Swarm: errors", "Per second: failed requests to engines and registries, calls denied because the plugin is busy, messages that "
            "it cannot read, lost lines of the log; and plugins whose settings could not be loaded again.",
            *(query(f"sum(rate({swarm}{name}_total[$__rate_interval]))", legend, ref) for ref, name, legend in (
                ("A", "engine_errors", "engine"), ("B", "registry_errors", "registry"), ("C", "calls_busy", "busy"),
                ("D", "invalid_messages", "invalid messages"), ("E", "log_dropped_lines", "lost log lines"))),
            query(f"count({swarm}settings_last_reload_successful == 0) or vector(0)", "settings not loaded", "F"), width=6,
        ).links([docs("Swarm", "swarm.md")]),
    ]


# ---- The dashboard

def figures() -> list[object]:
    """The answers at a glance, in the order of the questions."""
    unfinished = history("unfinished_patch_start_timestamp_seconds", REPOSITORY)
    return [
        total(number("Refused", "Requests that the policies refused in the time range.",
                     new(f'{EVALUATIONS}{{{REFUSED}, policy_mode="protect"}}'), "short",
                     thresholds("green", (1, "orange")), "findings.md").no_value("0")),
        total(number("Refused if enforced", "Requests that policies in the mode `monitor` would have refused in the time range.",
                     new(f'{EVALUATIONS}{{{REFUSED}, policy_mode="monitor"}}'), "short",
                     thresholds("green", (1, "orange")), "findings.md").no_value("0")),
        number("Overdue images", "Images past the deadline of the patch schedule.",
               f"count({DEADLINE} <= time()) or vector(0)", "short", thresholds("green", (1, "red")), "stale-image.md"),
        number("Stale this week", "Images whose deadline is in the next 7 days.",
               f"count(({DEADLINE} > time()) <= time() + {7 * DAY}) or vector(0)", "short",
               thresholds("green", (1, "orange")), "patch-due.md"),
        number("Unhealthy rollouts", "Workloads whose image changed in the last 6 hours, with more restarts or more pods that wait or are "
               f"not ready than before. {RULES}",
               f"count({changed(RESTARTS)} > {RESTARTS_BEFORE} or {changed(WAITING)} > {WAITING_BEFORE} + 0.5"
               f" or {changed(NOT_READY)} > {NOT_READY_BEFORE} + 0.5) or vector(0)", "short",
               thresholds("green", (1, "red")), "monitoring.md"),
        number("Oldest unfinished patch", "Time since the oldest unfinished patch began.",
               f"time() - min({unfinished})", "s", thresholds("green", (3 * DAY, "orange"), (14 * DAY, "red")),
               "audit-trail.md").decimals(1).no_value("none"),
        total(number("Break-glass", "Requests that were admitted because of break-glass in the time range.",
                     new_in_log(history("break_glass_total")), "short",
                     thresholds("green", (1, "red")), "break-glass.md").no_value("0")),
        total(number("Exceptions", "Findings that an exception covered in the time range.",
                     new_in_log(history("exceptions_total")), "short",
                     thresholds("green", (1, "blue")), "excepted.md").no_value("0")),
    ]


class PrometheusAnnotation(AnnotationQuery):
    """Grafana 11's type of annotations leaves out what only a Prometheus data source knows."""

    def __init__(self, name: str, title: str, expr: str, color: str, enable: bool = True) -> None:
        super().__init__(name=name, datasource=PROMETHEUS, icon_color=color, expr=expr, hide=False, enable=enable)
        self.title = title

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {"useValueForTime": True, "titleFormat": self.title, "textFormat": "{{reason}} {{images}}",
                                    "tagKeys": "images,namespaces", "step": "10m"}

    def build(self) -> AnnotationQuery:
        return self


def annotations() -> list[PrometheusAnnotation]:
    metric = "container_patch_schedule_"
    return [
        PrometheusAnnotation("Patch days", "Patch day", f"max by (images, namespaces) ({metric}last_patch_day_timestamp_seconds) * 1000", "blue"),
        # For time ranges that end in the future. What has passed would be there twice.
        PrometheusAnnotation("Next patch days", "Patch day", f"max by (images, namespaces) ({metric}next_patch_day_timestamp_seconds) * 1000", "blue",
                             enable=False),
        PrometheusAnnotation("Freezes begin", "Freeze begins",
                             f"max by (images, namespaces, reason) ({metric}freeze_start_timestamp_seconds) * 1000", "purple"),
        PrometheusAnnotation("Freezes end", "Freeze ends",
                             f"max by (images, namespaces, reason) ({metric}freeze_end_timestamp_seconds) * 1000", "purple"),
    ]


def variable(name: str, label: str, description: str, values: str, all_value: str) -> dashboard.QueryVariable:
    return (dashboard.QueryVariable(name).label(label).description(description).datasource(PROMETHEUS)
            .query({"query": values, "refId": name, "qryType": 1}).multi(True).include_all(True).all_value(all_value)
            .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC))


def build() -> dashboard.Dashboard:
    board = (
        dashboard.Dashboard("Container patch policy").uid(UID).tags(["container-patch", "kubewarden"])
        .description("What the policies refused, which images go stale, whether rollouts after patching are healthy, and who used break-glass.")
        .time("now-7d", "now").refresh("5m").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR)
        .link(docs("Monitoring", "monitoring.md")).link(docs("Audit trail", "audit-trail.md")).link(docs("Findings", "findings.md"))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(variable("policy", "Policy", "Policies of policy-server. Change the regular expression if yours have other names.",
                                f"label_values({EVALUATIONS}, policy_name)", ".*container-patch.*").regex("/container-patch/"))
        .with_variable(variable("namespace", "Namespace", "Namespaces of the report and of the audit log.",
                                'label_values({__name__=~"container_patch_image_pods|container_patch_history_requests_total"}, namespace)',
                                ".*"))
        .with_variable(variable("repository", "Image", "Repositories of the images in the report.",
                                f"label_values(container_patch_image_pods{{{NAMESPACE}}}, repository)", ".*"))
    )
    for each in annotations():
        board.annotation(each)
    for each in figures():
        board.with_panel(each)
    for title, panels in (
        ("What was refused, and why?", refusals()), ("What becomes stale this week?", deadlines()),
        ("Are rollouts healthy after patching?", rollouts()), ("Who used break-glass?", leniency()),
    ):
        board.with_row(dashboard.Row(title))
        for each in panels:
            board.with_panel(each)
    row = dashboard.Row("The policy itself").collapsed(True)
    for each in policy_itself():
        row.with_panel(each)
    return board.with_row(row)


def numbered(board: object) -> object:
    """Gives each panel a number, which links to single panels contain."""
    number = 0
    for panel in board.panels:
        for each in [panel, *(getattr(panel, "panels", None) or [])]:
            number += 1
            each.id_val = number
    board.schema_version = SCHEMA_VERSION
    return board


if __name__ == "__main__":
    print(json.dumps(numbered(build().build()), cls=JSONEncoder, indent=2))
