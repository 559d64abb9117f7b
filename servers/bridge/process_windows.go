package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/windows"
)

// GuardMain does nothing on Windows: a child is in a job object there, which the system ends when the bridge's handle is gone.
func GuardMain([]string) int {
	fmt.Fprintln(os.Stderr, "guard: not needed on Windows")
	return 2
}

// process is a child in a job object of its own, and the bridge's ends of its pipes.
type process struct {
	pid    int
	stdin  *os.File
	stdout *os.File
	stderr *os.File

	cmd *exec.Cmd
	job windows.Handle
}

func startProcess(_ context.Context, command []string, opts *ChildOptions) (_ *process, err error) {
	var theirs, ours []*os.File
	defer func() {
		closeAll(theirs)
		if err != nil {
			closeAll(ours)
		}
	}()
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	inR, inW := pipe()
	outR, outW := pipe()
	errR, errW := pipe()
	theirs, ours = []*os.File{inR, outW, errW}, []*os.File{inW, outR, errR}
	if err != nil {
		return nil, fmt.Errorf("bridge: pipe: %w", err)
	}
	job, err := newJob()
	if err != nil {
		return nil, fmt.Errorf("bridge: job object: %w", err)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, errW
	cmd.Env, cmd.Dir = append(os.Environ(), opts.Env...), opts.Dir
	if err = cmd.Start(); err != nil {
		windows.CloseHandle(job)
		return nil, err
	}
	if err = intoJob(job, cmd.Process.Pid); err != nil {
		windows.CloseHandle(job)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("bridge: job object: %w", err)
	}
	return &process{pid: cmd.Process.Pid, stdin: inW, stdout: outR, stderr: errR, cmd: cmd, job: job}, nil
}

// newJob makes a job object whose processes end with its last handle, which is ours.
func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE},
	}
	size := uint32(unsafe.Sizeof(info))
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), size); err != nil {
		windows.CloseHandle(job)
		return 0, err
	}
	return job, nil
}

func intoJob(job windows.Handle, pid int) error {
	h, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(pid))
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h)
	return windows.AssignProcessToJobObject(job, h)
}

func (p *process) wait() exit {
	_ = p.cmd.Wait()
	// What is left in the job would hold the pipes.
	_ = windows.TerminateJobObject(p.job, 1)
	if p.cmd.ProcessState == nil {
		return exit{status: -1, cause: "ended unseen"}
	}
	return exit{status: p.cmd.ProcessState.ExitCode()}
}

func (p *process) reap() { windows.CloseHandle(p.job) }

// term has no gentle form on Windows beyond the end of the input, which the child has seen by now.
func (p *process) term() error  { return errors.ErrUnsupported }
func (p *process) kill() error  { return windows.TerminateJobObject(p.job, 1) }
func (p *process) force() error { return p.cmd.Process.Kill() }

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// expire does nothing: the end of the job has ended whoever held the pipe.
func expire(*os.File) {}

type pipeReader struct{ f *os.File }

func (r *pipeReader) Read(b []byte) (int, error) {
	n, err := r.f.Read(b)
	if err != nil {
		err = io.EOF
	}
	return n, err
}
