/*
 * NVML through dlopen. The declarations follow NVIDIA's nvml.h: the functions named here have kept
 * this form since driver 319 (the _v2 ones since 331), and their results are plain integers.
 */
#include "agent/gpu.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"

#define NVML_SUCCESS 0
#define NVML_TEMPERATURE_GPU 0u
#define NAME_BYTES 96u /* NVML_DEVICE_NAME_V2_BUFFER_SIZE, NVML_DEVICE_UUID_V2_BUFFER_SIZE */

struct nvml_memory {
	unsigned long long total;
	unsigned long long free;
	unsigned long long used;
};

struct nvml_utilisation {
	unsigned int gpu;    /* percent */
	unsigned int memory; /* percent of time that memory was busy */
};

typedef int nvml_void_f(void);
typedef int nvml_count_f(unsigned int *count);
typedef int nvml_handle_f(unsigned int index, void **device);
typedef int nvml_text_f(void *device, char *text, unsigned int size);
typedef int nvml_memory_f(void *device, struct nvml_memory *memory);
typedef int nvml_utilisation_f(void *device, struct nvml_utilisation *utilisation);
typedef int nvml_temperature_f(void *device, unsigned int sensor, unsigned int *celsius);
typedef int nvml_power_f(void *device, unsigned int *milliwatts);
typedef const char *nvml_error_f(int result);

struct nvml {
	nvml_void_f *init;
	nvml_void_f *shutdown;
	nvml_count_f *count;
	nvml_handle_f *handle;
	nvml_text_f *name;
	nvml_text_f *uuid;
	nvml_memory_f *memory;
	nvml_utilisation_f *utilisation;
	nvml_temperature_f *temperature;
	nvml_power_f *power;
	nvml_error_f *error;
};

struct gpu {
	void *handle; /* NULL: cannot be used */
	Godwit__Device device;
	Godwit__DeviceSample sample;
	char type[NAME_BYTES];
	char uuid[NAME_BYTES];
	char unavailable[160];
};

struct gw_gpus {
	void *library; /* NULL: none */
	struct nvml nvml;
	bool ready; /* init succeeded */
	char reason[160];
	uint32_t count;
	struct gpu list[GW_GPUS_MAX];
	Godwit__Device *devices[GW_GPUS_MAX];
	Godwit__DeviceSample *samples[GW_GPUS_MAX];
};

/* False: the library lacks a function. */
static bool load(struct gw_gpus *gpus)
{
	const struct {
		const char *symbol;
		void *slot;
	} wanted[] = {
		{"nvmlInit_v2", &gpus->nvml.init},
		{"nvmlShutdown", &gpus->nvml.shutdown},
		{"nvmlDeviceGetCount_v2", &gpus->nvml.count},
		{"nvmlDeviceGetHandleByIndex_v2", &gpus->nvml.handle},
		{"nvmlDeviceGetName", &gpus->nvml.name},
		{"nvmlDeviceGetUUID", &gpus->nvml.uuid},
		{"nvmlDeviceGetMemoryInfo", &gpus->nvml.memory},
		{"nvmlDeviceGetUtilizationRates", &gpus->nvml.utilisation},
		{"nvmlDeviceGetTemperature", &gpus->nvml.temperature},
		{"nvmlDeviceGetPowerUsage", &gpus->nvml.power},
		{"nvmlErrorString", &gpus->nvml.error},
	};

	for (size_t i = 0; i < GW_ARRAY_COUNT(wanted); i++) {
		void *function = dlsym(gpus->library, wanted[i].symbol);

		if (!function) {
			(void)snprintf(gpus->reason, sizeof(gpus->reason),
				       "the accelerators' library has no %s", wanted[i].symbol);
			return false;
		}
		/* POSIX lets a function's address go through void *; ISO C has no word for it. */
		memcpy(wanted[i].slot, &function, sizeof(function));
	}
	return true;
}

/* "NVIDIA H100 80GB HBM3" becomes "nvidia-h100-80gb-hbm3". */
static void set_type(struct gpu *gpu, const char *name)
{
	size_t length = 0;

	for (; *name && length + 1 < sizeof(gpu->type); name++) {
		unsigned char letter = (unsigned char)*name;

		if (isalnum(letter) || letter == '.' || letter == '_')
			gpu->type[length++] = (char)tolower(letter);
		else if (length > 0 && gpu->type[length - 1] != '-')
			gpu->type[length++] = '-';
	}
	while (length > 0 && gpu->type[length - 1] == '-')
		length--;
	gpu->type[length] = '\0';
}

static void set_unavailable(struct gw_gpus *gpus, struct gpu *gpu, const char *what, int result)
{
	(void)snprintf(gpu->unavailable, sizeof(gpu->unavailable), "%s: %s", what,
		       gpus->nvml.error(result));
	gpu->handle = NULL;
}

static void describe(struct gw_gpus *gpus, unsigned int index)
{
	struct gpu *gpu = &gpus->list[index];
	struct nvml_memory memory = {0};
	char name[NAME_BYTES] = "";
	int result;

	gpu->device = (Godwit__Device)GODWIT__DEVICE__INIT;
	gpu->device.type = gpu->type;
	gpu->device.uuid = gpu->uuid;
	gpu->device.unavailable = gpu->unavailable;
	gpus->devices[index] = &gpu->device;
	set_type(gpu, "nvidia");
	(void)snprintf(gpu->uuid, sizeof(gpu->uuid), "index-%u", index); /* until it is known */

	result = gpus->nvml.handle(index, &gpu->handle);
	if (result != NVML_SUCCESS) {
		set_unavailable(gpus, gpu, "it cannot be opened", result);
		return;
	}
	if (gpus->nvml.name(gpu->handle, name, sizeof(name)) == NVML_SUCCESS)
		set_type(gpu, name);
	result = gpus->nvml.uuid(gpu->handle, gpu->uuid, sizeof(gpu->uuid));
	if (result != NVML_SUCCESS) {
		set_unavailable(gpus, gpu, "its uuid cannot be read", result);
		return;
	}
	result = gpus->nvml.memory(gpu->handle, &memory);
	if (result != NVML_SUCCESS) {
		set_unavailable(gpus, gpu, "its memory cannot be read", result);
		return;
	}
	gpu->device.memory_bytes = memory.total;
}

/* Finds the devices, or fills `reason`. */
static void find(struct gw_gpus *gpus)
{
	unsigned int count = 0;
	int result;

	if (!load(gpus))
		return;
	result = gpus->nvml.init();
	if (result != NVML_SUCCESS) {
		(void)snprintf(gpus->reason, sizeof(gpus->reason),
			       "the accelerators' library cannot start: %s",
			       gpus->nvml.error(result));
		return;
	}
	gpus->ready = true;
	result = gpus->nvml.count(&count);
	if (result != NVML_SUCCESS) {
		(void)snprintf(gpus->reason, sizeof(gpus->reason),
			       "the accelerators cannot be counted: %s", gpus->nvml.error(result));
		return;
	}
	for (; gpus->count < count && gpus->count < GW_GPUS_MAX; gpus->count++)
		describe(gpus, gpus->count);
}

int gw_gpus_new(const char *library, struct gw_gpus **ret_gpus)
{
	struct gw_gpus *gpus = calloc(1, sizeof(*gpus));

	if (!gpus)
		return -ENOMEM;
	gpus->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (gpus->library)
		find(gpus);
	*ret_gpus = gpus;
	return 0;
}

struct gw_gpus *gw_gpus_free(struct gw_gpus *gpus)
{
	if (!gpus)
		return NULL;
	if (gpus->ready)
		(void)gpus->nvml.shutdown(); /* nothing can be done about a refusal */
	if (gpus->library)
		(void)dlclose(gpus->library); /* likewise */
	free(gpus);
	return NULL;
}

const char *gw_gpus_reason(const struct gw_gpus *gpus)
{
	return gpus->reason[0] ? gpus->reason : NULL;
}

uint32_t gw_gpus_count(const struct gw_gpus *gpus)
{
	return gpus->count;
}

Godwit__Device **gw_gpus_devices(struct gw_gpus *gpus)
{
	return gpus->devices;
}

/* A figure that the device does not give (some have no power meter, a partitioned one has no
 * utilisation) stays 0. */
static void sample_one(struct gw_gpus *gpus, struct gpu *gpu)
{
	struct nvml_memory memory = {0};
	struct nvml_utilisation utilisation = {0};
	unsigned int celsius = 0;
	unsigned int milliwatts = 0;

	gpu->sample = (Godwit__DeviceSample)GODWIT__DEVICE_SAMPLE__INIT;
	gpu->sample.uuid = gpu->uuid;
	if (gpus->nvml.utilisation(gpu->handle, &utilisation) == NVML_SUCCESS &&
	    utilisation.gpu <= 100)
		gpu->sample.utilisation_ppm = utilisation.gpu * 10000u;
	if (gpus->nvml.memory(gpu->handle, &memory) == NVML_SUCCESS)
		gpu->sample.memory_used_bytes = memory.used;
	if (gpus->nvml.temperature(gpu->handle, NVML_TEMPERATURE_GPU, &celsius) == NVML_SUCCESS)
		gpu->sample.temperature_c = celsius;
	if (gpus->nvml.power(gpu->handle, &milliwatts) == NVML_SUCCESS)
		gpu->sample.power_mw = milliwatts;
}

Godwit__DeviceSample **gw_gpus_sample(struct gw_gpus *gpus, uint32_t *ret_count)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < gpus->count; i++) {
		if (!gpus->list[i].handle)
			continue;
		sample_one(gpus, &gpus->list[i]);
		gpus->samples[count++] = &gpus->list[i].sample;
	}
	*ret_count = count;
	return gpus->samples;
}
