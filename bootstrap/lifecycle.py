"""The life of a stack, from making it to removing it, with what an interrupted run left behind repaired on the way."""

from bootstrap import access_proof, repair
from bootstrap.console import say, step
from bootstrap.stack import Stack


def prepare(stack: Stack) -> None:
    """Render the config, make the stack if there is none, and repair what an interrupted run left behind."""
    with step("Stack") as current:
        stack.render()
        repair.break_stale_locks(stack)
        if stack.exists():
            stack.check_passphrase()
            repair.clear_pending(stack)
            current.result = f"{stack.name} exists"
        else:
            stack.init()
            current.result = f"{stack.name} made"


def destroy(stack: Stack) -> int:
    """Destroy what the stack made and remove the stack; return Pulumi's exit status."""
    stack.render()
    if not stack.exists():
        say(f"there is no stack {stack.name}: nothing to destroy")
        return 0
    prepare(stack)
    outputs = stack.outputs()
    mesh = outputs.get("mesh")
    access_proof.clean_up(outputs, stack.env)
    status = stack.destroy()
    if status == 0:
        if mesh:
            repair.sweep(mesh, stack)
        stack.remove()
        say(f"Stack {stack.name} is removed; caches and the Docker engine stay.")
    return status
