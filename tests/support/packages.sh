# Sourced by tests/run and the benches: installs what packages.txt names and this machine lacks.
# Usage: install_packages [EXTRA ...]
install_packages() {
	local file missing=() name
	file="$(dirname "${BASH_SOURCE[0]}")/../../packages.txt"
	while read -r name _; do
		case "$name" in
		'' | '#'*) continue ;;
		esac
		dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed ||
			missing+=("$name")
	done < <(
		cat "$file"
		printf '%s\n' "$@"
	)
	[ "${#missing[@]}" -eq 0 ] && return 0
	if [ "$(id -u)" -ne 0 ]; then
		echo "these Debian packages are missing; install them as root:" >&2
		echo "  apt-get install ${missing[*]}" >&2
		return 1
	fi
	echo "installing ${#missing[@]} Debian packages: ${missing[*]}"
	apt-get update -qq &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			"${missing[@]}" >/dev/null
}
