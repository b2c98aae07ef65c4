/*
 * Runs a fuzz target over the files of a corpus folder, without libFuzzer: so each input that once
 * mattered is tried in the ordinary test run, by any compiler.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES_MAX (2u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* One file's bytes through the target, in a buffer of exactly its size so that a sanitizer sees
 * a read past the end. */
static int replay(const char *path)
{
	static uint8_t input[INPUT_BYTES_MAX];
	FILE *file = fopen(path, "rb");
	uint8_t *exact;
	size_t size;

	if (!file) {
		perror(path);
		return -1;
	}
	size = fread(input, 1, sizeof(input), file);
	(void)fclose(file); /* only read */
	exact = malloc(size ? size : 1);
	if (!exact)
		return -1;
	memcpy(exact, input, size);
	(void)LLVMFuzzerTestOneInput(exact, size); /* by contract always 0 */
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	struct dirent **names;
	int count;
	int replayed = 0;

	if (argc != 2) {
		(void)fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
		return 2;
	}
	count = scandir(argv[1], &names, NULL, alphasort);
	if (count < 0) {
		perror(argv[1]);
		return 1;
	}
	for (int i = 0; i < count; i++) {
		char path[4096];

		if (names[i]->d_name[0] != '.') {
			(void)snprintf(path, sizeof(path), "%s/%s", argv[1], names[i]->d_name);
			if (replay(path) < 0)
				return 1;
			replayed++;
		}
		free(names[i]);
	}
	free(names);
	(void)printf("%d inputs replayed\n", replayed);
	return replayed > 0 ? 0 : 1;
}
