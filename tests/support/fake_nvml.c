/*
 * A stand-in for NVIDIA's management library, for tests: three devices, of which the second cannot
 * be opened and the third has no power meter and no utilisation. FAKE_NVML=broken makes it refuse
 * to start, as without a driver, FAKE_NVML=hang never return, as with a driver gone wrong.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUCCESS 0
#define NOT_SUPPORTED 3
#define GPU_LOST 15
#define DRIVER_NOT_LOADED 9

struct memory {
	unsigned long long total;
	unsigned long long free;
	unsigned long long used;
};

struct utilisation {
	unsigned int gpu;
	unsigned int memory;
};

static int devices[3];

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetCount_v2(unsigned int *count);
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device);
int nvmlDeviceGetName(void *device, char *text, unsigned int size);
int nvmlDeviceGetUUID(void *device, char *text, unsigned int size);
int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory);
int nvmlDeviceGetUtilizationRates(void *device, struct utilisation *utilisation);
int nvmlDeviceGetTemperature(void *device, unsigned int sensor, unsigned int *celsius);
int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts);
const char *nvmlErrorString(int result);

int nvmlInit_v2(void)
{
	const char *mode = getenv("FAKE_NVML");

	while (mode && strcmp(mode, "hang") == 0)
		(void)pause();
	return mode && strcmp(mode, "broken") == 0 ? DRIVER_NOT_LOADED : SUCCESS;
}

int nvmlShutdown(void)
{
	return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned int *count)
{
	*count = 3;
	return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device)
{
	if (index == 1)
		return GPU_LOST;
	*device = &devices[index];
	return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *text, unsigned int size)
{
	(void)device;
	(void)snprintf(text, size, "NVIDIA Test (A) 80GB");
	return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned int size)
{
	(void)snprintf(text, size, "GPU-%d", (int)((int *)device - devices));
	return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory)
{
	(void)device;
	*memory = (struct memory){80ull << 30, 60ull << 30, 20ull << 30};
	return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, struct utilisation *utilisation)
{
	*utilisation = (struct utilisation){35, 10};
	return device == &devices[2] ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetTemperature(void *device, unsigned int sensor, unsigned int *celsius)
{
	(void)device;
	*celsius = 41;
	return sensor == 0 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts)
{
	*milliwatts = 70500;
	return device == &devices[2] ? NOT_SUPPORTED : SUCCESS;
}

const char *nvmlErrorString(int result)
{
	return result == GPU_LOST ? "GPU is lost" : "Driver Not Loaded";
}
