"""Storages: the memory that views share."""

import pytest

import flambeau as torch


def test_views_share_one_storage():
    x = torch.arange(6.0)
    view, copy = x[2:].view(2, 2), x.clone()
    assert view.untyped_storage() == x.untyped_storage() != copy.untyped_storage()
    assert hash(view.untyped_storage()) == hash(x.untyped_storage())
    assert view.untyped_storage().data_ptr() == x.data_ptr() == view.data_ptr() - 8
    assert x.untyped_storage().nbytes() == 24 and len(view.storage()) == 6


def test_typed_storage_reads_and_writes_the_tensor():
    x = torch.arange(3.0)
    s = x.storage()
    s[1] = 7.0
    assert x.tolist() == [0.0, 7.0, 2.0] == s.tolist() == list(s)
    assert s[1] == 7.0 and s.dtype is torch.float32 and s.untyped().size() == 12
    s.clone().fill_(0)
    assert x.tolist() == [0.0, 7.0, 2.0]
    assert repr(s) == " 0.0\n 7.0\n 2.0\n[torch.TypedStorage(dtype=torch.float32, device=cpu) of size 3]"
    assert torch.is_storage(s) and not torch.is_storage(x)


def test_layout():
    assert torch.ones(2).layout is torch.strided


def test_storages_of_their_own():
    s = torch.ByteStorage.from_buffer(b"abc")
    assert s.tolist() == [97, 98, 99] and torch.ByteTensor(s).tolist() == [97, 98, 99]
    torch.ByteTensor(s)[0] = 5
    assert s[0] == 5
    assert torch.FloatStorage(3).size() == 3 and torch.FloatStorage([1.0, 2.5]).tolist() == [1.0, 2.5]
    assert torch.FloatStorage.from_buffer(b"\0\0\x80?\0\0\0@", "little").tolist() == [1, 2]
    assert torch.ShortStorage.from_buffer(b"\1\2", "big").tolist() == [258]
    x = torch.ones(2)
    assert isinstance(x.storage(), torch.FloatStorage) and x.storage_type() is torch.FloatStorage
    assert not isinstance(x.storage(), torch.DoubleStorage)
    with pytest.raises(ValueError, match="byte_order"):
        torch.IntStorage.from_buffer(b"1234", "middle")
    with pytest.raises(TypeError):
        torch.FloatTensor(s)
