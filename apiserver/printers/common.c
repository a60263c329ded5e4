/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/printers/common.h"

void cell_containers(struct cells *cells, const struct core_v1_pod_spec *spec) {
	autobuf struct buf names = BUF_INIT(64 << 10), images = BUF_INIT(64 << 10);
	for (uint32_t i = 0; spec && i < spec->containers.len; i++) {
		buf_printf(&names, "%s%s", i ? "," : "", str_or(spec->containers.items[i].name, ""));
		buf_printf(&images, "%s%s", i ? "," : "", str_or(spec->containers.items[i].image, ""));
	}
	cell_string(cells, names.data);
	cell_string(cells, images.data);
}

static void labels_text(const struct api_string_map *labels, struct buf *out) {
	for (uint32_t i = 0; labels && i < labels->len; i++)
		buf_printf(out, "%s%s=%s", out->len ? "," : "", labels->items[i].key, labels->items[i].value);
}

void cell_labels(struct cells *cells, const struct api_string_map *labels) {
	autobuf struct buf out = BUF_INIT(64 << 10);
	labels_text(labels, &out);
	cell_string(cells, out.len ? out.data : "<none>");
}

void cell_selector(struct cells *cells, const struct meta_v1_label_selector *selector) {
	autobuf struct buf out = BUF_INIT(64 << 10);
	if (selector) {
		labels_text(&selector->match_labels, &out);
		for (uint32_t i = 0; i < selector->match_expressions.len; i++) {
			const struct meta_v1_label_selector_requirement *r = &selector->match_expressions.items[i];
			const char *comma = out.len ? "," : "";
			if (str_equal(r->operator, "Exists") || str_equal(r->operator, "DoesNotExist")) {
				buf_printf(&out, "%s%s%s", comma, str_equal(r->operator, "Exists") ? "" : "!", r->key);
				continue;
			}
			buf_printf(&out, "%s%s %s (", comma, r->key, str_equal(r->operator, "In") ? "in" : "notin");
			for (uint32_t v = 0; v < r->values.len; v++)
				buf_printf(&out, "%s%s", v ? "," : "", r->values.items[v]);
			buf_append_char(&out, ')');
		}
	}
	cell_string(cells, out.len ? out.data : "<none>");
}
