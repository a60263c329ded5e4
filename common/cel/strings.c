/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of text: what indexes count are code points. */
#include "common/cel/internal.h"

static struct cel_value out_of_range(struct cel_run *run, int64_t i) {
	return cel_fail(run, "index out of range: %lld", (long long)i);
}

static struct cel_value part(const struct cel_value *v, size_t start, size_t end) {
	return VALUE_STRING(v->s + start, end - start);
}

static struct cel_value fn_char_at(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0];
	size_t length = utf8_count(v->s, v->len);
	int64_t i = args[1].i;
	if (i < 0 || (uint64_t)i > length)
		return out_of_range(run, i);
	size_t start = utf8_offset(v->s, v->len, (size_t)i);
	return part(v, start, start + utf8_offset(v->s + start, v->len - start, 1));
}

static struct cel_value fn_index_of(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0], *sub = &args[1];
	int64_t from = count > 2 ? args[2].i : 0;
	if (!sub->len)
		return VALUE_INT(from);
	if (from < 0)
		return out_of_range(run, from);
	size_t start = (uint64_t)from > v->len ? v->len : utf8_offset(v->s, v->len, (size_t)from);
	const char *found = memmem(v->s + start, v->len - start, sub->s, sub->len);
	return VALUE_INT(found ? (int64_t)utf8_count(v->s, (size_t)(found - v->s)) : -1);
}

static struct cel_value fn_last_index_of(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0], *sub = &args[1];
	size_t length = utf8_count(v->s, v->len);
	if (!sub->len)
		return VALUE_INT(count > 2 ? args[2].i : (int64_t)length);
	if (count > 2 && args[2].i < 0)
		return out_of_range(run, args[2].i);
	if (count > 2 && (uint64_t)args[2].i >= length)
		return VALUE_INT(-1);
	if (sub->len > v->len)
		return VALUE_INT(-1);
	size_t last = v->len - sub->len;
	if (count > 2)
		last = min_of(last, utf8_offset(v->s, v->len, (size_t)args[2].i));
	for (size_t i = last + 1; i--;) {
		if (v->s[i] == *sub->s && memcmp(v->s + i, sub->s, sub->len) == 0)
			return VALUE_INT((int64_t)utf8_count(v->s, i));
		if (!(i & 0xfff) && !run_goes_on(run))
			return exceeded(run);
	}
	return VALUE_INT(-1);
}

static struct cel_value map_ascii(struct cel_run *run, const struct cel_value *v, char from, char to, int by) {
	struct cel_value ret = cel_from_string(run, v->s, v->len);
	char *s = (char *)ret.s;
	for (size_t i = 0; ret.kind == CEL_STRING && i < v->len; i++)
		if (s[i] >= from && s[i] <= to)
			s[i] = (char)(s[i] + by);
	return ret;
}

static struct cel_value fn_lower(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return map_ascii(run, &args[0], 'A', 'Z', 32);
}

static struct cel_value fn_upper(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return map_ascii(run, &args[0], 'a', 'z', -32);
}

/* Text that is put together, within bounds: appends nothing past them. */
static struct cel_value built(struct cel_run *run, const struct buf *text) {
	return buf_failed(text) ? exceeded(run) : cel_from_string(run, text->data ? text->data : "", text->len);
}

static struct cel_value fn_replace(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0], *old = &args[1], *new = &args[2];
	int64_t left = count > 3 ? args[3].i : -1;
	autobuf struct buf text = BUF_INIT(MAX_STRING);
	size_t at = 0;
	while (left && !buf_failed(&text)) {
		const char *found = old->len ? memmem(v->s + at, v->len - at, old->s, old->len) : v->s + at;
		if (!found)
			break;
		buf_append(&text, v->s + at, (size_t)(found - v->s) - at);
		buf_append(&text, new->s, new->len);
		at = (size_t)(found - v->s) + old->len;
		left--;
		if (old->len)
			continue;
		/* Nothing is found before each character, and at the end. */
		if (at == v->len)
			break;
		size_t one = utf8_offset(v->s + at, v->len - at, 1);
		buf_append(&text, v->s + at, one);
		at += one;
	}
	buf_append(&text, v->s + at, v->len - at);
	return built(run, &text);
}

static struct cel_value fn_split(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0], *separator = &args[1];
	int64_t left = count > 2 ? args[2].i : -1;
	struct cel_value list = list_new(run, 0);
	size_t at = 0;
	if (!left || (!separator->len && !v->len))
		return list;
	while (left != 1 && !run->exceeded) {
		const char *found;
		if (separator->len) {
			found = memmem(v->s + at, v->len - at, separator->s, separator->len);
		} else {
			size_t one = at + utf8_offset(v->s + at, v->len - at, 1);
			found = one < v->len ? v->s + one : NULL;
		}
		if (!found)
			break;
		list_push(run, &list, part(v, at, (size_t)(found - v->s)));
		at = (size_t)(found - v->s) + separator->len;
		left--;
	}
	list_push(run, &list, part(v, at, v->len));
	return list;
}

static struct cel_value fn_join(struct cel_run *run, const struct cel_value *args, unsigned count) {
	autobuf struct buf text = BUF_INIT(MAX_STRING);
	for (size_t i = 0; i < args[0].list->len && !buf_failed(&text); i++) {
		struct cel_value item = list_get(run, args[0].list, i);
		if (item.kind != CEL_STRING) {
			autobuf struct buf shown = BUF_INIT(BUF_MAX_DEFAULT);
			value_append(run, &item, &shown);
			return cel_fail(run, "join: invalid input: %s", shown.data ? shown.data : "");
		}
		if (i && count > 1)
			buf_append(&text, args[1].s, args[1].len);
		buf_append(&text, item.s, item.len);
	}
	return built(run, &text);
}

static struct cel_value fn_substring(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0];
	int64_t length = (int64_t)utf8_count(v->s, v->len), start = args[1].i, end = count > 2 ? args[2].i : length;
	if (count > 2 && start > end)
		return cel_fail(run, "invalid substring range. start: %lld, end: %lld", (long long)start, (long long)end);
	if (start < 0 || start > length)
		return out_of_range(run, start);
	if (end < 0 || end > length)
		return out_of_range(run, end);
	size_t from = utf8_offset(v->s, v->len, (size_t)start);
	return part(v, from, from + utf8_offset(v->s + from, v->len - from, (size_t)(end - start)));
}

/* Bytes of the white space at s; 0: none. */
static size_t space(const char *s, size_t left) {
	static const char *const wide[] = {"\xc2\x85", "\xc2\xa0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
	if (left && *s && strchr(" \t\n\v\f\r", *s))
		return 1;
	for (size_t i = 0; i < array_len(wide); i++) {
		size_t len = strlen(wide[i]);
		if (len <= left && memcmp(s, wide[i], len) == 0)
			return len;
	}
	return 0;
}

static struct cel_value fn_trim(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0];
	size_t start = 0, end = v->len, n;
	while ((n = space(v->s + start, end - start)))
		start += n;
	while (end > start) {
		size_t last = end - 1;
		while (last > start && (v->s[last] & 0xc0) == 0x80)
			last--;
		if (space(v->s + last, end - last) != end - last)
			break;
		end = last;
	}
	return part(v, start, end);
}

static struct cel_value fn_quote(struct cel_run *run, const struct cel_value *args, unsigned count) {
	static const char letters[] = "abfnrtv\\\"", values[] = "\a\b\f\n\r\t\v\\\"";
	autobuf struct buf text = BUF_INIT(MAX_STRING);
	buf_append_char(&text, '"');
	for (size_t i = 0; i < args[0].len; i++) {
		const char *value = args[0].s[i] ? strchr(values, args[0].s[i]) : NULL;
		if (value)
			buf_append_char(&text, '\\');
		buf_append_char(&text, value ? letters[value - values] : args[0].s[i]);
	}
	buf_append_char(&text, '"');
	return built(run, &text);
}

/* ---- regular expressions ---- */

static struct regex *compile(struct cel_run *run, const struct cel_value *pattern, struct cel_value *ret_error) {
	autofree char *text = xstrndup(pattern->s, pattern->len), *why = NULL;
	struct regex *regex = memchr(pattern->s, 0, pattern->len) ? NULL : regex_new(text, &why);
	if (!regex)
		*ret_error = cel_fail(run, "Illegal regex: error parsing regexp: %s: `%s`", why ? why : "invalid UTF-8", text);
	return regex;
}

static struct cel_value find_all(struct cel_run *run, const struct regex *regex, const struct cel_value *v, int64_t max, bool one) {
	struct cel_value list = list_new(run, 0);
	size_t from = 0, start, end, last = SIZE_MAX;
	while (max && from <= v->len && run_goes_on(run) && regex_find(regex, v->s, v->len, from, &start, &end)) {
		/* Nothing right behind a match is no match of its own. */
		if (end > start || start != last) {
			list_push(run, &list, part(v, start, end));
			max--;
		}
		if (one)
			break;
		last = end;
		from = end > start ? end : end + (end < v->len ? utf8_offset(v->s + end, v->len - end, 1) : 1);
	}
	return list;
}

static struct cel_value fn_find(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value error, list;
	struct regex *own = run->regex ? NULL : compile(run, &args[1], &error);
	if (!run->regex && !own)
		return error;
	list = find_all(run, run->regex ? run->regex : own, &args[0], -1, true);
	regex_free(own);
	return list.list->len ? list_get(run, list.list, 0) : VALUE_STRING("", 0);
}

static struct cel_value fn_find_all(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value error, list;
	struct regex *own = run->regex ? NULL : compile(run, &args[1], &error);
	if (!run->regex && !own)
		return error;
	list = find_all(run, run->regex ? run->regex : own, &args[0], count > 2 ? args[2].i : -1, false);
	regex_free(own);
	return list;
}

const struct function_row functions_strings[] = {
	{"charAt", fn_char_at, COST_ONE, "string_char_at_int=.(string,int):string"},
	{"indexOf", fn_index_of, COST_TRAVERSE, "string_index_of_string=.(string,string):int string_index_of_string_int=.(string,string,int):int"},
	{"lastIndexOf", fn_last_index_of, COST_TRAVERSE, "string_last_index_of_string=.(string,string):int string_last_index_of_string_int=.(string,string,int):int"},
	{"lowerAscii", fn_lower, COST_SIZE, "string_lower_ascii=.(string):string"},
	{"upperAscii", fn_upper, COST_SIZE, "string_upper_ascii=.(string):string"},
	{"replace", fn_replace, COST_SIZE_TWICE, "string_replace_string_string=.(string,string,string):string string_replace_string_string_int=.(string,string,string,int):string"},
	{"split", fn_split, COST_SIZE_TWICE, "string_split_string=.(string,string):list<string> string_split_string_int=.(string,string,int):list<string>"},
	{"join", fn_join, COST_RESULT_TWICE, "list_join=.(list<string>):string list_join_string=.(list<string>,string):string"},
	{"substring", fn_substring, COST_SIZE, "string_substring_int=.(string,int):string string_substring_int_int=.(string,int,int):string"},
	{"trim", fn_trim, COST_SIZE, "string_trim=.(string):string"},
	{"strings.quote", fn_quote, COST_SIZE, "strings_quote=(string):string"},
	{"format", format_string, COST_SIZE, "string_format=.(string,list<dyn>):string"},
	{"find", fn_find, COST_REGEX, "string_find_string=.(string,string):string"},
	{"findAll", fn_find_all, COST_REGEX, "string_find_all_string=.(string,string):list<string> string_find_all_string_int=.(string,string,int):list<string>"},
	{0},
};
