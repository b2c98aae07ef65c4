# Sourced by the benches: one optimised build in ./build, shared with tests/run.
build_release() {
	if [ ! -d build/meson-info ]; then
		meson setup build >/dev/null || return 1
	fi
	ninja -C build --quiet
}
