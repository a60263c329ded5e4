/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzzer's entry point over every file of its corpus, for builds without libFuzzer. */
#include "common/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#define MAX_FILE ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	autoerror struct error err = {0};
	autofree char *data = NULL;
	size_t len = 0;
	if (file_read(AT_FDCWD, path, MAX_FILE, &data, &len, &err) < 0) {
		fprintf(stderr, "%s\n", error_message(&err));
		return 1;
	}
	/* An exactly sized copy, so that reading past the end is seen. */
	autofree uint8_t *copy = xmemdup(data, len);
	LLVMFuzzerTestOneInput(copy, len);
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0, count = 0;
	DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
	if (!dir) {
		fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
		return 2;
	}
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		autofree char *path = path_join(argv[1], entry->d_name, NULL);
		failed |= replay(path);
		count++;
	}
	closedir(dir);
	printf("%d inputs\n", count);
	return failed || !count;
}
