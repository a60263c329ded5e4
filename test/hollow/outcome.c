/* SPDX-License-Identifier: Apache-2.0 */
#include "test/hollow/outcome.h"

#include "common/base/clock.h"

#include <ctype.h>
#include <errno.h>

#define MAX_WORDS 256

static const struct outcome runs_on = {.heeds_stop = true};
static const struct outcome runs_on_deaf = {0};

/* ---- scripts ---- */

static bool is_shell(const char *word)
{
	const char *slash = strrchr(word, '/');
	const char *base = slash ? slash + 1 : word;
	return str_equal(base, "sh") || str_equal(base, "bash") || str_equal(base, "ash");
}

static const char *base_name(const char *word)
{
	const char *slash = strrchr(word, '/');
	return slash ? slash + 1 : word;
}

/* sleep's argument: seconds, or a number with s, m, h, d. False where it is none. */
static bool sleep_ms(const char *word, int64_t *ret)
{
	if (str_equal(word, "infinity") || str_equal(word, "inf")) {
		*ret = INT64_MAX;
		return true;
	}
	char *end;
	errno = 0;
	double seconds = strtod(word, &end);
	static const struct {
		char unit;
		int factor;
	} units[] = {{'\0', 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	for (size_t i = 0; i < array_len(units); i++)
		if (*end == units[i].unit && end != word && seconds >= 0 && seconds < 1e9 && !(*end && end[1])) {
			*ret = (int64_t)(seconds * units[i].factor * 1000);
			return true;
		}
	return false;
}

struct script {
	int64_t at_ms;
	int status;
	bool ended, forever, known;
};

static void run_simple(struct script *s, char **words, size_t count)
{
	const char *name = base_name(words[0]);
	int64_t ms, code;
	if (str_equal(name, "sleep") && count > 1 && sleep_ms(words[1], &ms)) {
		if (ms == INT64_MAX)
			s->forever = true;
		else
			s->at_ms += ms;
		s->status = 0;
	} else if (str_equal(name, "exit")) {
		if (count > 1 && str_to_int64(words[1], 0, 255, &code))
			s->status = (int)code;
		s->ended = true;
	} else if (str_equal(name, "true") || str_equal(name, ":") || str_equal(name, "echo") || str_equal(name, "date") || str_equal(name, "touch")) {
		s->status = 0;
	} else if (str_equal(name, "false")) {
		s->status = 1;
	} else if (str_equal(name, "while") || str_equal(name, "tail") || str_equal(name, "pause")) {
		s->forever = true;
	} else {
		s->known = false;
	}
}

/* "&&", "||", ";" and line ends part simple commands; quotes keep words together. */
static bool run_script(const char *text, struct script *s)
{
	autofree char *copy = xstrdup(text);
	char *words[MAX_WORDS], *p = copy;
	*s = (struct script){.known = true};
	bool run = true;
	while (s->known && !s->ended && !s->forever) {
		size_t count = 0;
		char joint = '\0';
		while (*p && !joint) {
			if (*p == ';' || *p == '\n') {
				joint = ';';
				*p++ = '\0';
			} else if ((*p == '&' && p[1] == '&') || (*p == '|' && p[1] == '|')) {
				joint = *p;
				*p = '\0';
				p += 2;
			} else if (*p == '&' || *p == '|' || *p == '$' || *p == '`' || *p == '(') {
				return false;
			} else if (isspace((unsigned char)*p)) {
				*p++ = '\0';
			} else {
				if (count == MAX_WORDS)
					return false;
				char quote = *p == '\'' || *p == '"' ? *p++ : '\0';
				words[count++] = p;
				while (*p && (quote ? *p != quote : !isspace((unsigned char)*p) && *p != ';' && *p != '&' && *p != '|' && *p != '$'))
					p++;
				if (quote && *p)
					*p++ = '\0';
			}
		}
		if (count && run)
			run_simple(s, words, count);
		if (!joint)
			break;
		run = joint == ';' || (joint == '&') == (s->status == 0);
	}
	return s->known;
}

bool outcome_of_command(const struct api_string_list *command, const struct api_string_list *args, struct outcome *ret)
{
	const char *words[3] = {NULL, NULL, NULL};
	size_t count = 0;
	for (uint32_t i = 0; i < command->len && count < 3; i++)
		words[count++] = command->items[i];
	for (uint32_t i = 0; i < args->len && count < 3; i++)
		words[count++] = args->items[i];
	if (!count)
		return false;
	struct script s;
	if (is_shell(words[0])) {
		if (count < 3 || !str_equal(words[1], "-c") || !run_script(words[2], &s))
			return false;
	} else {
		s = (struct script){.known = true};
		run_simple(&s, (char **)words, count);
		if (!s.known)
			return false;
	}
	*ret = s.forever ? runs_on_deaf : (struct outcome){.ends = true, .after_ms = s.at_ms, .exit_code = s.status};
	return true;
}

/* ---- pods ---- */

static bool told_outright(const struct core_v1_pod *pod, struct outcome *ret)
{
	const char *code = api_map_get(&pod->metadata.annotations, HOLLOW_ANNOTATION_EXIT_CODE);
	const char *run_for = api_map_get(&pod->metadata.annotations, HOLLOW_ANNOTATION_RUN_FOR);
	if (!code && !run_for)
		return false;
	int64_t number = 0, ns = 0;
	if (code && !str_to_int64(code, 0, 255, &number))
		number = 1;
	if (run_for)
		duration_parse(run_for, strlen(run_for), &ns);
	*ret = (struct outcome){.ends = true, .heeds_stop = true, .after_ms = ns / NSEC_PER_MSEC, .exit_code = (int32_t)number};
	return true;
}

struct outcome outcome_of(const struct core_v1_pod *pod, const struct core_v1_container *container, bool is_init)
{
	struct outcome outcome;
	if ((!is_init && told_outright(pod, &outcome)) || outcome_of_command(&container->command, &container->args, &outcome))
		return outcome;
	if (is_init)
		return (struct outcome){.ends = true, .heeds_stop = true};
	bool names_pause = strstr(str_or(container->image, ""), "pause") || api_string_list_has(&container->args, "pause");
	if (names_pause || str_equal(pod->spec.restart_policy, CORE_V1_RESTART_POLICY_ALWAYS))
		return runs_on;
	/* Servers among the tests' images. */
	for (uint32_t i = 0; i < container->args.len; i++)
		if (str_equal(container->args.items[i], "netexec") || str_equal(container->args.items[i], "serve-hostname"))
			return runs_on;
	if (!container->command.len && !container->args.len)
		return runs_on;
	return (struct outcome){.ends = true, .heeds_stop = true};
}
