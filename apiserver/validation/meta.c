/* SPDX-License-Identifier: Apache-2.0 */
/* ObjectMeta, labels and selectors of every kind. */
#include "apiserver/validation/validation.h"

#define MAX_ANNOTATION_BYTES (256u << 10)

void validate_labels(const struct api_string_map *labels, const struct path *path, struct error *err) {
	for (uint32_t i = 0; i < labels->len; i++) {
		const char *text = check_qualified_name(labels->items[i].key);
		if (text)
			invalid(err, path, labels->items[i].key, "%s", text);
		text = check_label_value(labels->items[i].value);
		if (text)
			invalid(err, path, labels->items[i].value, "%s", text);
	}
}

void validate_annotations(const struct api_string_map *annotations, const struct path *path, struct error *err) {
	size_t total = 0;
	for (uint32_t i = 0; i < annotations->len; i++) {
		autofree char *key = xstrdup(annotations->items[i].key);
		for (char *p = key; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p - 'A' + 'a');
		const char *text = check_qualified_name(key);
		if (text)
			invalid(err, path, annotations->items[i].key, "%s", text);
		total += strlen(annotations->items[i].key) + strlen(annotations->items[i].value);
	}
	if (total > MAX_ANNOTATION_BYTES)
		too_long(err, path, MAX_ANNOTATION_BYTES);
}

static const char *check_name(enum name_rule rule, const char *name, bool prefix) {
	char text[254];
	if (prefix) { /* what is generated onto it may end with a hyphen */
		size_t len = strlen(name);
		while (len && name[len - 1] == '-')
			len--;
		if (len == strlen(name) || len + 1 > sizeof(text))
			len = strlen(name);
		else {
			snprintf(text, sizeof(text), "%.*sa", (int)min_of(len, (size_t)252), name);
			name = text;
		}
	}
	switch (rule) {
	case NAME_DNS_SUBDOMAIN:
		return check_dns_subdomain(name);
	case NAME_DNS_LABEL:
		return check_dns_label(name);
	case NAME_DNS_1035_LABEL:
		return check_dns_1035_label(name);
	case NAME_PATH_SEGMENT:
		return check_path_segment(name);
	case NAME_ANY:
		return NULL;
	}
	return NULL;
}

static void validate_owners(const struct meta_v1_object_meta *meta, const struct path *parent, struct error *err) {
	bool controller = false;
	for (uint32_t i = 0; i < meta->owner_references.len; i++) {
		const struct meta_v1_owner_reference *ref = &meta->owner_references.items[i];
		struct path at = PATH_INDEX(parent, "ownerReferences", i);
		if (str_empty(ref->api_version))
			invalid(err, &PATH(&at, "apiVersion"), "", "version must not be empty");
		if (str_empty(ref->kind))
			invalid(err, &PATH(&at, "kind"), "", "must not be empty");
		if (str_empty(ref->name))
			invalid(err, &PATH(&at, "name"), "", "must not be empty");
		if (str_empty(ref->uid))
			invalid(err, &PATH(&at, "uid"), "", "must not be empty");
		if (ref->controller && *ref->controller) {
			if (controller)
				invalid(err, &PATH(parent, "ownerReferences"), ref->name, "Only one reference can have Controller set to true");
			controller = true;
		}
	}
}

static void validate_finalizers(const struct meta_v1_object_meta *meta, const struct path *parent, struct error *err) {
	struct path at = PATH(parent, "finalizers");
	bool orphan = false, foreground = false;
	for (uint32_t i = 0; i < meta->finalizers.len; i++) {
		const char *name = meta->finalizers.items[i];
		const char *text = check_qualified_name(name);
		if (text)
			invalid(err, &at, name, "%s", text);
		else if (!strchr(name, '/') && strcmp(name, "orphan") != 0 && strcmp(name, "foregroundDeletion") != 0 && strcmp(name, "kubernetes") != 0)
			invalid(err, &at, name, "name is neither a standard finalizer name nor is it fully qualified");
		orphan |= strcmp(name, "orphan") == 0;
		foreground |= strcmp(name, "foregroundDeletion") == 0;
	}
	if (orphan && foreground)
		invalid(err, &at, "[orphan foregroundDeletion]", "finalizer orphan and foregroundDeletion cannot be both set");
}

static void validate_common(const struct meta_v1_object_meta *meta, const struct path *root, struct error *err) {
	validate_non_negative(meta->generation, &PATH(root, "generation"), err);
	validate_labels(&meta->labels, &PATH(root, "labels"), err);
	validate_annotations(&meta->annotations, &PATH(root, "annotations"), err);
	validate_owners(meta, root, err);
	validate_finalizers(meta, root, err);
}

void validate_object_meta(const struct meta_v1_object_meta *meta, bool namespaced, enum name_rule rule, const char *path, struct error *err) {
	struct path root = PATH(NULL, path);
	if (!str_empty(meta->generate_name)) {
		const char *text = check_name(rule, meta->generate_name, true);
		if (text)
			invalid(err, &PATH(&root, "generateName"), meta->generate_name, "%s", text);
	}
	if (str_empty(meta->name)) {
		required(err, &PATH(&root, "name"), "name or generateName is required");
	} else {
		const char *text = check_name(rule, meta->name, false);
		if (text)
			invalid(err, &PATH(&root, "name"), meta->name, "%s", text);
	}
	if (namespaced) {
		if (str_empty(meta->namespace))
			required(err, &PATH(&root, "namespace"), NULL);
		else if (check_dns_label(meta->namespace))
			invalid(err, &PATH(&root, "namespace"), meta->namespace, "%s", check_dns_label(meta->namespace));
	}
	validate_common(meta, &root, err);
}

static bool same_time(const struct api_time *a, const struct api_time *b) {
	return a->set == b->set && (!a->set || a->t.sec == b->t.sec);
}

void validate_object_meta_update(const struct meta_v1_object_meta *meta, const struct meta_v1_object_meta *old, enum name_rule rule, bool namespaced, const char *path, struct error *err) {
	struct path root = PATH(NULL, path);
	if (!str_equal(meta->name, old->name))
		invalid(err, &PATH(&root, "name"), meta->name, IMMUTABLE_TEXT);
	if (!str_equal(meta->namespace, old->namespace))
		invalid(err, &PATH(&root, "namespace"), meta->namespace, IMMUTABLE_TEXT);
	if (!str_equal(meta->uid, old->uid))
		invalid(err, &PATH(&root, "uid"), meta->uid, IMMUTABLE_TEXT);
	if (!same_time(&meta->creation_timestamp, &old->creation_timestamp)) {
		char text[40];
		time_format_rfc3339(meta->creation_timestamp.t, text);
		invalid(err, &PATH(&root, "creationTimestamp"), text, IMMUTABLE_TEXT);
	}
	if (old->deletion_timestamp.set)
		for (uint32_t i = 0; i < meta->finalizers.len; i++)
			if (!api_string_list_has(&old->finalizers, meta->finalizers.items[i])) {
				autofree char *text = xprintf("no new finalizers can be added if the object is being deleted, found new finalizers []string{\"%s\"}", meta->finalizers.items[i]);
				forbidden(err, &PATH(&root, "finalizers"), text);
			}
	validate_common(meta, &root, err);
}

void validate_label_selector(const struct meta_v1_label_selector *selector, const struct path *path, struct error *err) {
	if (!selector)
		return;
	validate_labels(&selector->match_labels, &PATH(path, "matchLabels"), err);
	for (uint32_t i = 0; i < selector->match_expressions.len; i++) {
		const struct meta_v1_label_selector_requirement *r = &selector->match_expressions.items[i];
		struct path at = PATH_INDEX(path, "matchExpressions", i);
		const char *op = str_or(r->operator, "");
		bool with_values = strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0;
		if (with_values && !r->values.len)
			required(err, &PATH(&at, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
		else if ((strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0) && r->values.len)
			forbidden(err, &PATH(&at, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
		else if (!with_values && strcmp(op, "Exists") != 0 && strcmp(op, "DoesNotExist") != 0)
			invalid(err, &PATH(&at, "operator"), op, "not a valid selector operator");
		const char *text = check_qualified_name(str_or(r->key, ""));
		if (text)
			invalid(err, &PATH(&at, "key"), r->key, "%s", text);
		for (uint32_t v = 0; v < r->values.len; v++) {
			text = check_label_value(r->values.items[v]);
			if (text)
				invalid(err, &PATH_INDEX(&at, "values", v), r->values.items[v], "%s", text);
		}
	}
}
