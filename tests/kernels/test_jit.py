from kaggle_unet.kernels._jit import jit


def test_a_kernel_keeps_its_name_and_its_answer():
    @jit
    def double(number: int) -> int:
        return 2 * number

    assert double.__name__ == "double"
    assert double(3) == 6


def test_where_no_cache_can_be_written_a_kernel_is_compiled_without():
    namespace = {}
    exec("def double(number):\n    return 2 * number", namespace)  # belongs to no file, so numba finds no place for it

    assert jit(namespace["double"])(3) == 6
