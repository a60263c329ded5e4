/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller csr_cleaner_controller;

/* The moment of all rows is 2027-01-15T08:00:00Z. */
#define CSR(made, status) \
	"{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"CertificateSigningRequest\",\"metadata\":{\"name\":\"r\",\"creationTimestamp\":\"" made "\"},\"spec\":{\"request\":\"eA==\",\"signerName\":\"example.com/s\",\"usages\":[\"client auth\"]},\"status\":{" status "}}"
#define SAYS(type, when) "\"conditions\":[{\"type\":\"" type "\",\"status\":\"True\",\"lastUpdateTime\":\"2027-01-15T" when "Z\"}]"
#define ISSUED ",\"certificate\":\"eA==\""
#define GONE "delete certificatesigningrequests r\n"

static const struct scenario rows[] = {
	{.name = "nobody has decided yet", .owner = CSR("2027-01-14T09:00:00Z", ""), .writes = "", .after_s = 3600},
	{.name = "nor for a day", .owner = CSR("2027-01-14T07:59:00Z", ""), .writes = GONE},
	{.name = "denied a while ago", .owner = CSR("2027-01-15T06:00:00Z", SAYS("Denied", "07:30:00")), .writes = "", .after_s = 1800},
	{.name = "and an hour ago", .owner = CSR("2027-01-15T06:00:00Z", SAYS("Denied", "06:59:00")), .writes = GONE},
	{.name = "one that failed", .owner = CSR("2027-01-15T06:00:00Z", SAYS("Failed", "06:59:00")), .writes = GONE},
	{.name = "approved and issued an hour ago", .owner = CSR("2027-01-15T06:00:00Z", SAYS("Approved", "06:59:00") ISSUED), .writes = GONE},
	{.name = "approved, and its signer is late", .owner = CSR("2027-01-15T06:00:00Z", SAYS("Approved", "06:59:00")), .writes = "", .after_s = 22 * 3600},
	{.name = "but not for ever", .owner = CSR("2027-01-14T06:00:00Z", SAYS("Approved", "06:59:00")), .writes = GONE},
	{.name = "what others note decides nothing", .owner = CSR("2027-01-15T06:00:00Z", SAYS("example.com/Seen", "06:30:00")), .writes = "", .after_s = 22 * 3600},
	{.name = "one that is gone", .key = "r", .writes = ""},
};

static void requests_go_when_they_are_over(void **state)
{
	scenario_play_all(rows, array_len(rows), &csr_cleaner_controller);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(requests_go_when_they_are_over)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
