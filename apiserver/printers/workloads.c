/* SPDX-License-Identifier: Apache-2.0 */
/* apps and batch. */
#include "apiserver/printers/common.h"
#include "apiserver/printers/table.h"
#include "api/apps_v1.h"
#include "api/batch_v1.h"

static void deployment_cells(const void *object, struct cells *cells) {
	const struct apps_v1_deployment *d = object;
	cell_string(cells, d->metadata.name);
	cell_printf(cells, "%d/%d", d->status.ready_replicas, d->spec.replicas ? *d->spec.replicas : 0);
	cell_int(cells, d->status.updated_replicas);
	cell_int(cells, d->status.available_replicas);
	cell_age_of(cells, d);
	cell_containers(cells, &d->spec.template.spec);
	cell_selector(cells, d->spec.selector);
}

static void replica_set_cells(const void *object, struct cells *cells) {
	const struct apps_v1_replica_set *rs = object;
	cell_string(cells, rs->metadata.name);
	cell_int(cells, rs->spec.replicas ? *rs->spec.replicas : 0);
	cell_int(cells, rs->status.replicas);
	cell_int(cells, rs->status.ready_replicas);
	cell_age_of(cells, rs);
	cell_containers(cells, &rs->spec.template.spec);
	cell_selector(cells, rs->spec.selector);
}

static void stateful_set_cells(const void *object, struct cells *cells) {
	const struct apps_v1_stateful_set *s = object;
	cell_string(cells, s->metadata.name);
	cell_printf(cells, "%d/%d", s->status.ready_replicas, s->spec.replicas ? *s->spec.replicas : 0);
	cell_age_of(cells, s);
	cell_containers(cells, &s->spec.template.spec);
}

static void daemon_set_cells(const void *object, struct cells *cells) {
	const struct apps_v1_daemon_set *d = object;
	cell_string(cells, d->metadata.name);
	cell_int(cells, d->status.desired_number_scheduled);
	cell_int(cells, d->status.current_number_scheduled);
	cell_int(cells, d->status.number_ready);
	cell_int(cells, d->status.updated_number_scheduled);
	cell_int(cells, d->status.number_available);
	cell_labels(cells, &d->spec.template.spec.node_selector);
	cell_age_of(cells, d);
	cell_containers(cells, &d->spec.template.spec);
	cell_selector(cells, d->spec.selector);
}

static void revision_cells(const void *object, struct cells *cells) {
	const struct apps_v1_controller_revision *revision = object;
	const char *kind = NULL, *name = NULL, *group = "";
	for (uint32_t i = 0; i < revision->metadata.owner_references.len; i++) {
		const struct meta_v1_owner_reference *ref = &revision->metadata.owner_references.items[i];
		if (ref->controller && *ref->controller) {
			kind = ref->kind;
			name = ref->name;
			group = ref->api_version;
		}
	}
	cell_string(cells, revision->metadata.name);
	if (kind) {
		autofree char *lower = xstrdup(kind);
		for (char *p = lower; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p - 'A' + 'a');
		size_t len = strcspn(group, "/");
		bool grouped = group[len] == '/';
		cell_printf(cells, "%s%s%.*s/%s", lower, grouped ? "." : "", grouped ? (int)len : 0, group, name);
	} else {
		cell_string(cells, "<none>");
	}
	cell_int(cells, revision->revision);
	cell_age_of(cells, revision);
}

/* ---- batch ---- */

static bool has_condition(const struct batch_v1_job *job, const char *type) {
	for (uint32_t i = 0; i < job->status.conditions.len; i++)
		if (str_equal(job->status.conditions.items[i].type, type) && str_equal(job->status.conditions.items[i].status, "True"))
			return true;
	return false;
}

static void job_cells(const void *object, struct cells *cells) {
	const struct batch_v1_job *job = object;
	const char *status = has_condition(job, "Complete") ? "Complete" : has_condition(job, "Failed") ? "Failed" : job->metadata.deletion_timestamp.set ? "Terminating" : has_condition(job, "Suspended") ? "Suspended" : has_condition(job, "FailureTarget") ? "FailureTarget" : has_condition(job, "SuccessCriteriaMet") ? "SuccessCriteriaMet" : "Running";
	cell_string(cells, job->metadata.name);
	cell_string(cells, status);
	if (job->spec.completions)
		cell_printf(cells, "%d/%d", job->status.succeeded, *job->spec.completions);
	else if (job->spec.parallelism && *job->spec.parallelism > 1)
		cell_printf(cells, "%d/1 of %d", job->status.succeeded, *job->spec.parallelism);
	else
		cell_printf(cells, "%d/1", job->status.succeeded);
	char took[32] = "";
	if (job->status.start_time.set)
		duration_format_human((job->status.completion_time.set ? job->status.completion_time.t.sec : clock_wall().sec) - job->status.start_time.t.sec, took);
	cell_string(cells, took);
	cell_age_of(cells, job);
	cell_containers(cells, &job->spec.template.spec);
	cell_selector(cells, job->spec.selector);
}

static void cron_job_cells(const void *object, struct cells *cells) {
	const struct batch_v1_cron_job *job = object;
	cell_string(cells, job->metadata.name);
	cell_string(cells, job->spec.schedule);
	cell_string(cells, str_or(job->spec.time_zone, "<none>"));
	cell_string(cells, job->spec.suspend && *job->spec.suspend ? "True" : "False");
	cell_int(cells, job->status.active.len);
	if (job->status.last_schedule_time.set)
		cell_age(cells, &job->status.last_schedule_time);
	else
		cell_string(cells, "<none>");
	cell_age_of(cells, job);
	cell_containers(cells, &job->spec.job_template.spec.template.spec);
	cell_selector(cells, job->spec.job_template.spec.selector);
}

const struct printer printers_workloads[] = {
	{"apps", "deployments", deployment_cells},
	{"apps", "replicasets", replica_set_cells},
	{"apps", "statefulsets", stateful_set_cells},
	{"apps", "daemonsets", daemon_set_cells},
	{"apps", "controllerrevisions", revision_cells},
	{"batch", "jobs", job_cells},
	{"batch", "cronjobs", cron_job_cells},
	{0},
};
