#!/bin/sh
# Boots a systemd in namespaces and a cgroup of its own, in which nothing of the machine can be changed: the system's
# programs are read-only, devices are the harmless ones, and the network is a loopback. Ends with its caller.
set -eu
home=$1 python=$2 packages=$3 database=$4
root=$home/root

outside() {
	mount --make-rprivate /
	mkdir "$home/cgroup" "$root"
	mount -t cgroup2 cgroup2 "$home/cgroup"
	cgroup=$home/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/eventstore-test-$$
	mkdir "$cgroup"
	trap 'find "$cgroup" -depth -type d -exec rmdir {} +' EXIT
	(
		echo 0 >"$cgroup/cgroup.procs"
		exec setpriv --pdeathsig KILL unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child \
			sh "$0" "$home" "$python" "$packages" "$database" inside
	) || true
}

read_only() {
	mount --bind "$1" "$2"
	mount -o remount,bind,ro "$2"
}

inside() {
	mount --make-rprivate /
	mount -t tmpfs -o mode=755 tmpfs "$root"
	cp -a "$home/etc" "$home/opt" "$root"
	cd "$root"
	mkdir -p usr proc sys dev run home root tmp var/tmp var/lib srv/database etc/eventstore opt/python opt/packages old
	chmod 1777 tmp var/tmp
	for name in bin sbin lib lib32 lib64; do
		if [ -L /$name ]; then cp -P /$name .; elif [ -d /$name ]; then mkdir $name && read_only /$name $name; fi
	done
	read_only /usr usr
	read_only "$python" opt/python
	read_only "$packages" opt/packages
	mount --bind "$home/project" etc/eventstore
	: >srv/database/.s.PGSQL.5432
	mount --bind "$database" srv/database/.s.PGSQL.5432
	mount -t proc proc proc
	read_only proc/sys proc/sys
	mount -t sysfs -o ro sysfs sys
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	mount -t tmpfs -o mode=755 tmpfs dev
	for name in null zero full random urandom tty; do
		: >dev/$name
		mount --bind /dev/$name dev/$name
	done
	mkdir dev/pts dev/shm
	mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
	mount -t tmpfs -o mode=1777 tmpfs dev/shm
	ln -s pts/ptmx dev/ptmx
	ln -s /proc/self/fd dev/fd
	mount -t tmpfs -o mode=755 tmpfs run
	pivot_root . old
	umount -l old
	exec env -i container=eventstore-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		setpriv --bounding-set -sys_module,-sys_rawio,-sys_time,-sys_boot,-mknod,-syslog,-mac_admin \
		/lib/systemd/systemd --system --unit=basic.target --show-status=no
}

if [ "${5:-}" = inside ]; then inside; else outside; fi
