#!/usr/bin/perl
# Writes Perl's manual (Debian's perl-doc; Artistic License or GPL-1+) as plain prose, one .txt a page, into the folder given:
# indented code is dropped, paragraphs are unwrapped.
use strict;
use warnings;
use File::Basename;
use File::Path qw(make_path);
use Pod::Text;

package Prose {
  our @ISA = ('Pod::Text');
  sub cmd_verbatim { return '' }
}

my $folder = shift or die "usage: demo-text.pl FOLDER\n";
make_path($folder);
my @pods = sort map { glob "$_/pod/*.pod" } glob '/usr/share/perl/5.*';
die "no pages found under /usr/share/perl: is the package perl-doc installed?\n" unless @pods;
my %seen;
for my $pod (@pods) {
  my $name = basename($pod, '.pod');
  next if $seen{$name}++ || $name =~ /^perltoc$/;
  my $text = '';
  my $parser = Prose->new(width => 1_000_000, indent => 0, utf8 => 1, errors => 'none');
  $parser->output_string(\$text);
  $parser->parse_file($pod);
  utf8::decode($text) unless utf8::is_utf8($text);
  $text =~ s/^[ \t]+//mg;
  $text =~ s/[ \t]+$//mg;
  $text =~ s/\n{3,}/\n\n/g;
  next if length $text < 2000;
  open my $out, '>:encoding(UTF-8)', "$folder/$name.txt" or die "$folder/$name.txt: $!\n";
  print $out $text;
  close $out or die "$folder/$name.txt: $!\n";
}
