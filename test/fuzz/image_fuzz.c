/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes with an image: its config ('c'), references that users write ('r'), and layers ('l'), which are unpacked into a folder
 * beside one that must stay as it is.
 */
#include "common/base/file.h"
#include "common/image/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void fuzz_config(const uint8_t *data, size_t size)
{
	struct image_config config = {0};
	char **ids = NULL;
	if (image_config_parse((const char *)data, size, &config, &ids, NULL) == 0)
		must(config.cmd && config.env && config.user && image_strv_len(ids) <= IMAGE_MAX_LAYERS);
	image_config_done(&config);
	image_strv_free(ids);
}

/* What is accepted is written in one form, which reads as the same. */
static void fuzz_reference(const uint8_t *data, size_t size)
{
	autofree char *text = xstrndup((const char *)data, size);
	struct image_reference once, twice;
	if (image_reference_parse(text, &once, NULL) < 0)
		return;
	autofree char *whole = image_reference_format(&once);
	must(image_reference_parse(whole, &twice, NULL) == 0);
	autofree char *again = image_reference_format(&twice);
	must(strcmp(whole, again) == 0 && !strstr(once.repository, ".."));
	image_reference_done(&once);
	image_reference_done(&twice);
}

static void fuzz_layer(const uint8_t *data, size_t size)
{
	static char base[32], inside[64], outside[64];
	if (!*base) {
		snprintf(base, sizeof(base), "/dev/shm/layer-fuzz-%d", (int)getpid());
		snprintf(inside, sizeof(inside), "%s/in", base);
		snprintf(outside, sizeof(outside), "%s/out", base);
		must(mkdir(base, 0700) == 0 && mkdir(outside, 0700) == 0);
	}
	must(mkdir(inside, 0700) == 0);
	autoclose int fd = memfd_create("layer", MFD_CLOEXEC), root = open(inside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(fd >= 0 && root >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
	image_apply_layer(fd, root, 1 << 20, NULL);
	must(rmdir(outside) == 0 && mkdir(outside, 0700) == 0); /* still there, still empty */
	must(file_remove_all(inside, NULL) == 0);
	must(rmdir(outside) == 0 && rmdir(base) == 0);
	*base = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > 1 << 20)
		return 0;
	switch (data[0]) {
	case 'c':
		fuzz_config(data + 1, size - 1);
		break;
	case 'r':
		fuzz_reference(data + 1, size - 1);
		break;
	case 'l':
		fuzz_layer(data + 1, size - 1);
		break;
	default:
		break;
	}
	return 0;
}
