/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/options.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

static void test_flags_and_config(void **state) {
	static const char config[] = "apiVersion: kubelet.config.k8s.io/v1beta1\n"
				     "kind: KubeletConfiguration\n"
				     "clusterDNS: [10.0.0.10, 10.0.0.11]\n"
				     "maxPods: 42\n"
				     "authentication:\n  anonymous: {enabled: true}\n"
				     "evictionHard: {memory.available: 200Mi}\n"
				     "registerWithTaints:\n- {key: a, value: b, effect: NoSchedule}\n"
				     "someFieldOfTomorrow: 1\n";
	char *argv[] = {(char *)"kubelet", (char *)"--hostname-override=n", (char *)"--port", (char *)"1", NULL};
	struct kubelet_options o = {0};
	autoerror struct error err = {0};
	if (kubelet_options_load(4, argv, &o, &err) < 0 || kubelet_options_apply_config(&o, config, strlen(config), &err) < 0)
		fail_msg("%s", error_message(&err));
	assert_string_equal(o.hostname_override, "n");
	assert_int_equal(o.port, 1);
	assert_int_equal(o.max_pods, 42);
	assert_true(o.anonymous_auth);
	assert_int_equal(o.cluster_dns.len, 2);
	assert_string_equal(o.eviction_hard.items[0], "memory.available<200Mi");
	assert_string_equal(o.register_with_taints.items[0], "a=b:NoSchedule");
	assert_string_equal(o.seccomp_dir, "/var/lib/kubelet/seccomp");
	kubelet_options_done(&o);
}

static void test_fields_without_effect_are_named(void **state) {
	static const char config[] = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 42\nauthentication: {webhook: {enabled: true, else: 1}}\nlogging: {format: text, colour: red, vmodule: []}\nseccompDefault: true\ncpuCFSQuota: false\n"
				     "tlsCurvePreferences: [X25519]\nsomeFieldOfTomorrow: 1\n";
	char *argv[] = {(char *)"kubelet", NULL}, said[4096] = "";
	struct kubelet_options o = {0};
	autoclose int fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(kubelet_options_load(1, argv, &o, NULL), 0);
	assert_true(o.cpu_cfs_quota);
	log_init(fd, LOG_FORMAT_TEXT, 0);
	assert_int_equal(kubelet_options_apply_config(&o, config, strlen(config), NULL), 0);
	log_init(STDERR_FILENO, LOG_FORMAT_TEXT, 0);
	assert_true(pread(fd, said, sizeof(said) - 1, 0) > 0);
	assert_non_null(strstr(said, "no effect\" field=\"tlsCurvePreferences\""));
	assert_non_null(strstr(said, "unknown field of KubeletConfiguration\" field=\"someFieldOfTomorrow\""));
	assert_null(strstr(said, "maxPods"));
	assert_non_null(strstr(said, "no effect\" field=\"logging.vmodule\""));
	assert_non_null(strstr(said, "unknown field of KubeletConfiguration\" field=\"authentication.webhook.else\""));
	assert_non_null(strstr(said, "unknown field of KubeletConfiguration\" field=\"logging.colour\""));
	assert_null(strstr(said, "authentication.webhook.enabled"));
	assert_null(strstr(said, "logging.format"));
	assert_true(o.seccomp_default);
	assert_false(o.cpu_cfs_quota);
	kubelet_options_done(&o);
}

static void write_part(const char *folder, const char *name, const char *rest) {
	autofree char *path = path_join(folder, name, NULL), *text = xprintf("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n%s", rest);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
}

/* Thresholds that the file does not name stay, where it says so; headers are lists by name; both come out of /configz as they went in. */
static void test_thresholds_and_headers(void **state) {
	static const char text[] = "kind: KubeletConfiguration\nmergeDefaultEvictionSettings: true\nevictionHard: {memory.available: 1Gi}\n"
		"staticPodURLHeader: {X-One: [a, 'b:c'], X-Two: [d]}\ncontainerLogMonitorInterval: 3s\ntlsMinVersion: VersionTLS13\n"
		"authorization: {webhook: {cacheAuthorizedTTL: 1m}}\n";
	struct kubelet_options o = {0}, again = {0};
	autoerror struct error err = {0};
	char *argv[] = {(char *)"kubelet", NULL};
	assert_int_equal(kubelet_options_load(1, argv, &o, &err), 0);
	if (kubelet_options_apply_config(&o, text, strlen(text), &err) < 0)
		fail_msg("%s", error_message(&err));
	assert_int_equal(o.eviction_hard.len, 5);
	assert_string_equal(o.eviction_hard.items[0], "memory.available<1Gi");
	assert_string_equal(o.eviction_hard.items[4], "imagefs.inodesFree<5%");
	assert_int_equal(o.manifest_url_headers.len, 3);
	assert_string_equal(o.manifest_url_headers.items[1], "X-One:b:c");
	assert_int_equal(o.container_log_monitor_ns, 3000000000);
	assert_int_equal(o.allowed_ttl_ns, 60000000000);
	autofree char *first = kubelet_options_config(&o);
	assert_int_equal(kubelet_options_load(1, argv, &again, &err), 0);
	assert_int_equal(kubelet_options_apply_config(&again, first, strlen(first), &err), 0);
	autofree char *second = kubelet_options_config(&again);
	assert_string_equal(first, second);
	kubelet_options_done(&o);
	kubelet_options_done(&again);
}

/* By name, folder by folder; maps are merged, lists are not; flags win over all. */
static void test_parts_of_the_configuration(void **state) {
	char folder[] = "/tmp/options-test-XXXXXX";
	struct kubelet_options o = {0};
	autoerror struct error err = {0};
	assert_non_null(mkdtemp(folder));
	autofree char *parts = path_join(folder, "parts", NULL), *below = path_join(parts, "15-more", NULL);
	autofree char *config = xprintf("--config=%s/config.yaml", folder), *dir = xprintf("--config-dir=%s", parts), *none = xprintf("--config-dir=%s/none", folder);
	assert_int_equal(file_mkdir_all(below, 0700, NULL), 0);
	write_part(folder, "config.yaml", "maxPods: 1\npodsPerCore: 2\nclusterDNS: [10.0.0.1, 10.0.0.2]\nkubeReserved: {cpu: '1', memory: 1Gi}\nport: 7\nclusterDomain: a\n");
	write_part(parts, "20-late.conf", "maxPods: 20\nclusterDNS: [10.0.0.3]\n");
	write_part(parts, "10-early.conf", "maxPods: 10\nkubeReserved: {cpu: '2'}\nport: 8\nclusterDomain: null\n");
	write_part(below, "a.conf", "maxPods: 15\npodsPerCore: 15\n");
	write_part(parts, "30-not-one.yaml", "maxPods: 30\n");
	char *argv[] = {(char *)"kubelet", config, dir, (char *)"--port=9", NULL};
	if (kubelet_options_load(4, argv, &o, &err) < 0)
		fail_msg("%s", error_message(&err));
	assert_int_equal(o.max_pods, 20);
	assert_int_equal(o.pods_per_core, 15);
	assert_int_equal(o.port, 9);
	assert_int_equal(o.cluster_dns.len, 1);
	assert_string_equal(o.cluster_dns.items[0], "10.0.0.3");
	assert_int_equal(o.kube_reserved.len, 2);
	assert_string_equal(o.cluster_domain, "");
	kubelet_options_done(&o);
	char *alone[] = {(char *)"kubelet", dir, NULL};
	assert_int_equal(kubelet_options_load(2, alone, &o, NULL), 0);
	assert_int_equal(o.max_pods, 20);
	kubelet_options_done(&o);
	char *missing[] = {(char *)"kubelet", none, NULL};
	assert_int_equal(kubelet_options_load(2, missing, &o, NULL), -ENOENT);
	autofree char *broken = path_join(parts, "40-broken.conf", NULL);
	assert_int_equal(file_write(AT_FDCWD, broken, "maxPods: 3\n", 11, 0600, NULL), 0);
	assert_true(kubelet_options_load(2, alone, &o, &err) < 0);
	assert_non_null(strstr(error_message(&err), "40-broken.conf"));
	file_remove_all(folder, NULL);
}

/* What is told of the options is a configuration: applied to others it makes them the same. */
static void test_config_of_options(void **state) {
	static const char config[] = "kind: KubeletConfiguration\nmaxPods: 42\nauthentication: {anonymous: {enabled: true}, x509: {clientCAFile: /ca}}\nclusterDNS: [10.0.0.1, 10.0.0.2]\n"
				     "evictionHard: {memory.available: 200Mi, nodefs.available: 5%}\nevictionSoft: {memory.available: 300Mi}\nevictionSoftGracePeriod: {memory.available: 90s}\nsystemReserved: {cpu: 100m}\n"
				     "nodeStatusUpdateFrequency: 1m30s\nregisterWithTaints:\n- {key: a, value: b, effect: NoSchedule}\n- {key: only, effect: NoExecute}\n"
				     "shutdownGracePeriodByPodPriority:\n- {priority: -5, shutdownGracePeriodSeconds: 7}\n"
				     "cpuManagerPolicy: static\ncpuManagerPolicyOptions: {full-pcpus-only: 'true'}\nfeatureGates: {CPUManagerPolicyAlphaOptions: true, Other: false}\n"
				     "reservedMemory:\n- {numaNode: 0, limits: {memory: 1Gi, hugepages-2Mi: 4Mi}}\n- {numaNode: 3, limits: {memory: 1048576}}\n";
	char *argv[] = {(char *)"kubelet", NULL};
	struct kubelet_options o = {0}, again = {0};
	assert_int_equal(kubelet_options_load(1, argv, &o, NULL), 0);
	assert_int_equal(kubelet_options_apply_config(&o, config, strlen(config), NULL), 0);
	autofree char *text = kubelet_options_config(&o);
	assert_int_equal(kubelet_options_load(1, argv, &again, NULL), 0);
	assert_int_equal(kubelet_options_apply_config(&again, text, strlen(text), NULL), 0);
	autofree char *text_again = kubelet_options_config(&again);
	assert_string_equal(text_again, text);
	static const char *const parts[] = {"\"maxPods\":42", "\"anonymous\":{\"enabled\":true}", "\"clusterDNS\":[\"10.0.0.1\",\"10.0.0.2\"]", "\"nodefs.available\":\"5%\"", "\"evictionSoftGracePeriod\":{\"memory.available\":\"90s\"}",
					    "\"systemReserved\":{\"cpu\":\"100m\"}", "\"nodeStatusUpdateFrequency\":\"1m30s\"", "{\"key\":\"a\",\"effect\":\"NoSchedule\",\"value\":\"b\"}", "{\"key\":\"only\",\"effect\":\"NoExecute\"}",
					    "\"cpuManagerPolicyOptions\":{\"full-pcpus-only\":\"true\"}", "\"featureGates\":{\"CPUManagerPolicyAlphaOptions\":true,\"Other\":false}",
					    "\"reservedMemory\":[{\"numaNode\":0,\"limits\":{\"memory\":\"1Gi\",\"hugepages-2Mi\":\"4Mi\"}},{\"numaNode\":3,\"limits\":{\"memory\":\"1048576\"}}]",
					    "{\"priority\":-5,\"shutdownGracePeriodSeconds\":7}"};
	for (size_t i = 0; i < array_len(parts); i++)
		if (!strstr(text, parts[i]))
			fail_msg("no %s in %s", parts[i], text);
	assert_int_equal(again.max_pods, 42);
	assert_string_equal(again.register_with_taints.items[1], "only=:NoExecute");
	assert_string_equal(again.reserved_memory.items[0], "0:memory=1Gi,hugepages-2Mi=4Mi;3:memory=1048576");
	kubelet_options_done(&o);
	kubelet_options_done(&again);
}

/* Cpus that are named stand instead of amounts of them. */
static void test_reserved_cpus(void **state) {
	struct kubelet_options o = {0};
	autoerror struct error err = {0};
	char *argv[] = {(char *)"kubelet", (char *)"--reserved-cpus=0-1,4", (char *)"--kube-reserved=cpu=1,memory=1Gi", (char *)"--system-reserved=cpu=500m", NULL};
	assert_int_equal(kubelet_options_load(4, argv, &o, NULL), 0);
	assert_int_equal(o.kube_reserved.len, 1);
	assert_string_equal(o.kube_reserved.items[0], "memory=1Gi");
	assert_int_equal(o.system_reserved.len, 1);
	assert_string_equal(o.system_reserved.items[0], "cpu=3");
	kubelet_options_done(&o);
	char *bad[] = {(char *)"kubelet", (char *)"--reserved-cpus=0-", NULL}, *both[] = {(char *)"kubelet", (char *)"--reserved-cpus=0", (char *)"--kube-reserved-cgroup=/kube", NULL};
	assert_int_equal(kubelet_options_load(2, bad, &o, &err), -EINVAL);
	assert_int_equal(kubelet_options_load(3, both, &o, &err), -EINVAL);
	assert_non_null(strstr(error_message(&err), "kube-reserved-cgroup"));
}

/* What Kubernetes lets choose and is one way here is refused, not passed over; its default is taken. */
static void test_what_cannot_be_chosen(void **state) {
	static const char *const refused[] = {"--cgroups-per-qos=false", "--cpu-cfs-quota-period=50ms", "--enable-controller-attach-detach=false", "--local-storage-capacity-isolation=false",
		"--runonce", "--qos-reserved=memory=50%", "--bootstrap-kubeconfig=/b", "--registry-qps=-1"};
	static const char *const taken[] = {"--cgroups-per-qos", "--cpu-cfs-quota-period=100ms", "--enable-controller-attach-detach=true", "--local-storage-capacity-isolation", "--runonce=false", "--registry-qps=0"};
	for (size_t i = 0; i < array_len(refused) + array_len(taken); i++) {
		struct kubelet_options o = {0};
		autoerror struct error err = {0};
		bool bad = i < array_len(refused);
		char *argv[] = {(char *)"kubelet", (char *)(bad ? refused[i] : taken[i - array_len(refused)]), NULL};
		assert_int_equal(kubelet_options_load(2, argv, &o, &err), bad ? -EINVAL : 0);
		kubelet_options_done(&o);
	}
	struct kubelet_options o = {0};
	static const char ids[] = "kind: KubeletConfiguration\nuserNamespaces: {idsPerPod: %d}\n";
	autofree char *as_here = xprintf(ids, 65536), *other = xprintf(ids, 131072);
	assert_int_equal(kubelet_options_apply_config(&o, as_here, strlen(as_here), NULL), 0);
	assert_int_equal(kubelet_options_apply_config(&o, other, strlen(other), NULL), -EINVAL);
	kubelet_options_done(&o);
}

static void test_defaults_are_those_of_kubernetes(void **state) {
	struct kubelet_options o = {0};
	char *argv[] = {(char *)"kubelet", NULL};
	assert_int_equal(kubelet_options_load(1, argv, &o, NULL), 0);
	assert_true(o.fail_swap_on && o.cgroups_per_qos && o.attach_by_controller && !o.rotate_certificates && !o.serving_bootstrap);
	assert_int_equal(o.registry_qps, 5);
	assert_int_equal(o.registry_burst, 10);
	assert_int_equal(o.event_qps, 50);
	assert_int_equal(o.event_burst, 100);
	assert_string_equal(o.swap_behavior, "NoSwap");
	kubelet_options_done(&o);
}

static void test_bad_config(void **state) {
	static const char *const bad[] = {"", "kind: Pod", "kind: KubeletConfiguration\nmaxPods: many", "kind: KubeletConfiguration\nclusterDNS: [{}]", "kind: KubeletConfiguration\nreservedMemory: [{numaNode: x}]", "kind: KubeletConfiguration\nfeatureGates: {A: [1]}", "- a: [", "\t"};
	for (size_t i = 0; i < array_len(bad); i++) {
		struct kubelet_options o = {0};
		autoerror struct error err = {0};
		assert_true(kubelet_options_apply_config(&o, bad[i], strlen(bad[i]), &err) < 0);
		kubelet_options_done(&o);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_flags_and_config), cmocka_unit_test(test_fields_without_effect_are_named), cmocka_unit_test(test_thresholds_and_headers),
		cmocka_unit_test(test_parts_of_the_configuration),
		cmocka_unit_test(test_config_of_options), cmocka_unit_test(test_reserved_cpus), cmocka_unit_test(test_what_cannot_be_chosen), cmocka_unit_test(test_defaults_are_those_of_kubernetes), cmocka_unit_test(test_bad_config)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
